//! The on-premise end: judges each request by its snapshot and forwards it
