//! Every wire format but the multiplexer and TLS, exactly as written
