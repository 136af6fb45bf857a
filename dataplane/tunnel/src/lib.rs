//! TLS, hello and mux as one machine without a socket
