//! Listening sockets: one a shard on the same address, so that the kernel spreads connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adit_runtime::shard::Driver;
use monoio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket as Raw, Type};

use crate::socket::{Leg, Socket, prepare};

/// Binds `count` listeners to `address` (SO_REUSEPORT). With port 0 all share the port the first got.
///
/// # Errors
/// When the address cannot be bound, with the address in the text.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let listener = bind_one(address)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Raw::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listener of one shard.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    leg: Leg,
}

impl Listener {
    /// Takes a bound listener over to this shard.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn new(listener: std::net::TcpListener, driver: Driver, leg: Leg) -> io::Result<Self> {
        // On a ring, accepting from a non-blocking socket does not wait; on epoll it must not block.
        listener.set_nonblocking(driver == Driver::Epoll)?;
        prepare(&SockRef::from(&listener), leg)?;
        Ok(Self {
            inner: TcpListener::from_std(listener)?,
            leg,
        })
    }

    /// The next connection. Out of descriptors it waits a little instead of spinning; what is open
    /// already goes on, and new connections queue in the kernel up to the backlog.
    pub async fn accept(&self, on_trouble: impl Fn(&io::Error)) -> (Socket, SocketAddr) {
        loop {
            let error = match self.inner.accept().await {
                Ok((stream, from)) => match Socket::accepted(stream, self.leg) {
                    Ok(socket) => return (socket, from),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            // A peer that is gone before it was accepted is no trouble of ours.
            if !matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::InvalidInput
            ) {
                on_trouble(&error);
                adit_runtime::timer::sleep(TROUBLE_WAIT).await;
            }
        }
    }
}

/// Connections that may wait in the kernel; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Pause after accept failed for want of descriptors or memory.
const TROUBLE_WAIT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use adit_runtime::shard::{choose, run_here};

    #[test]
    fn all_listeners_share_one_port() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|p| *p == ports[0] && *p != 0));
    }

    #[test]
    fn an_accepted_connection_has_the_options_of_its_leg() {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            run_here(driver, async {
                for leg in [Leg::Local, Leg::Tunnel] {
                    let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
                    let address = listener.local_addr().unwrap();
                    let listener = Listener::new(listener, driver, leg).unwrap();
                    let _client = std::net::TcpStream::connect(address).unwrap();
                    let (socket, _) = listener.accept(|error| panic!("{error}")).await;
                    let taken = socket.detach().unwrap();
                    let options = SockRef::from(&taken);
                    assert!(options.tcp_nodelay().unwrap());
                    match leg {
                        Leg::Local => {
                            assert!(options.keepalive().unwrap());
                            let time = options.tcp_keepalive_time().unwrap();
                            assert_eq!(time, Duration::from_secs(60));
                            assert_eq!(options.tcp_keepalive_retries().unwrap(), 4);
                        }
                        Leg::Tunnel => {
                            let limit = options.tcp_user_timeout().unwrap();
                            assert_eq!(limit, Some(Duration::from_secs(10)));
                            assert_eq!(options.tcp_notsent_lowat().unwrap(), 256 * 1024);
                        }
                    }
                }
            })
            .unwrap();
        }
    }

    #[test]
    fn an_address_that_cannot_be_bound_is_named() {
        let error = bind("192.0.2.1:1".parse().unwrap(), 1).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:1"), "{error}");
    }
}
