//! Many streams over one ordered byte pipe, wire-compatible with yamux
