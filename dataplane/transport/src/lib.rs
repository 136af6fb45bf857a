//! Tunnels on real sockets: dial, accept, and the one loop that feeds a tunnel
