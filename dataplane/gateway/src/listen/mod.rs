//! The doors for applications.

pub(crate) mod http;
pub(crate) mod http_opaque;
pub(crate) mod socks5;
