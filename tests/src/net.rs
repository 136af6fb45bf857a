//! Sockets as the tests use them: with deadlines, and closed the hard way when asked.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long one read or write may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects with deadlines.
///
/// # Errors
/// When nothing answers.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    patient(&stream)?;
    Ok(stream)
}

/// Gives a socket its deadlines.
///
/// # Errors
/// When the system refuses.
pub fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// A listener on a port of the system's choice.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    (listener, address)
}

/// An address where nothing listens now. For peers that cannot choose a port themselves.
#[must_use]
pub fn free_address() -> SocketAddr {
    listen().1
}

/// Closes with RST instead of FIN.
///
/// # Panics
/// When the option cannot be set.
pub fn reset(stream: TcpStream) {
    linger_none(&stream);
    // Both halves may be held elsewhere; this one's close is the last only if nobody cloned it.
    drop(stream);
}

/// From now on the last close of this socket sends RST.
///
/// # Panics
/// When the option cannot be set.
pub fn linger_none(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        .expect("SO_LINGER can be set");
}

/// Reads until the peer closes; a reset counts as a close, and what came before it is given back.
///
/// # Errors
/// When the peer does not close within [`PATIENCE`].
pub fn read_to_close(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                return Ok(all);
            }
            Err(error) => return Err(error),
        }
    }
}
