//! TLS 1.3 for tunnels: rustls shakes hands, our record layer seals and opens in place
