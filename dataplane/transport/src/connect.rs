//! One connection out of several addresses: happy eyeballs (RFC 8305).
//!
//! Families alternate, IPv6 first as the resolver said; the next address is tried 250 ms after the
//! last one, or at once when that failed. Which addresses may be dialled is decided before.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::socket::{Leg, Socket};

/// Why no address answered: the last failure and how many were tried.
#[derive(Debug)]
pub struct ConnectError {
    /// What the last address said.
    pub last: io::Error,
    /// The address that said it.
    pub address: Option<SocketAddr>,
    /// How many were tried.
    pub tried: usize,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}: {}", self.last)?,
            None => write!(f, "{}", self.last)?,
        }
        if self.tried > 1 {
            write!(f, " (the last of {} addresses)", self.tried)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

/// Connects to the first of `addresses` that answers, within `limit` for all of them together.
///
/// # Errors
/// [`ConnectError`] of kind `TimedOut` when none did in time, else what the last one said.
pub async fn any(
    addresses: &[SocketAddr],
    limit: Duration,
    leg: Leg,
) -> Result<Socket, ConnectError> {
    let order = interleaved(addresses);
    match order.as_slice() {
        [] => Err(ConnectError {
            last: io::Error::new(io::ErrorKind::NotFound, "no address to connect to"),
            address: None,
            tried: 0,
        }),
        [only] => Socket::connect(*only, limit, leg)
            .await
            .map_err(|last| ConnectError {
                last,
                address: Some(*only),
                tried: 1,
            }),
        many => race(many, limit, leg).await,
    }
}

type Try<'a> = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<Socket>)> + 'a>>;

async fn race(order: &[SocketAddr], limit: Duration, leg: Leg) -> Result<Socket, ConnectError> {
    let mut rest = order.iter();
    let mut running: Vec<Try<'_>> = Vec::new();
    let mut tried = 0;
    let mut last = None;
    let attempt = async {
        let mut stagger = Box::pin(adit_runtime::timer::sleep(Duration::ZERO));
        let mut more = true;
        std::future::poll_fn(|cx| {
            loop {
                let mut at = 0;
                let mut failed = false;
                while let Some(one) = running.get_mut(at) {
                    match one.as_mut().poll(cx) {
                        Poll::Ready((_, Ok(socket))) => return Poll::Ready(Some(socket)),
                        Poll::Ready((address, Err(error))) => {
                            drop(running.swap_remove(at));
                            last = Some((address, error));
                            failed = true;
                        }
                        Poll::Pending => at += 1,
                    }
                }
                let due = more && (failed || stagger.as_mut().poll(cx).is_ready());
                if due {
                    match rest.next() {
                        Some(address) => {
                            tried += 1;
                            let address = *address;
                            running.push(Box::pin(async move {
                                (address, Socket::connect(address, limit, leg).await)
                            }));
                            stagger = Box::pin(adit_runtime::timer::sleep(STAGGER));
                        }
                        None => more = false,
                    }
                    continue;
                }
                return if running.is_empty() && !more {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
        })
        .await
    };
    let outcome = adit_runtime::timer::timeout(limit, attempt).await;
    if let Ok(Some(socket)) = outcome {
        return Ok(socket);
    }
    let timed_out = || {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} ms", limit.as_millis()),
        )
    };
    Err(match (outcome, last) {
        (Ok(_), Some((address, last))) => ConnectError {
            last,
            address: Some(address),
            tried,
        },
        (_, _) => ConnectError {
            last: timed_out(),
            address: None,
            tried,
        },
    })
}

// The family of the first address first, then alternating (RFC 8305, section 4).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut same, mut other): (Vec<_>, Vec<_>) = addresses
        .iter()
        .take(ADDRESSES_MAX)
        .partition(|a| a.is_ipv6() == first_is_v6);
    same.reverse();
    other.reverse();
    let mut order = Vec::new();
    while let Some(address) = same.pop() {
        order.push(address);
        order.extend(other.pop());
    }
    order.extend(other.into_iter().rev());
    order
}

/// Between the start of one try and the next (RFC 8305, section 5: 250 ms).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses tried of one name.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use adit_runtime::shard::{Driver, choose, run_here};

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let a = |s: &str| s.parse::<SocketAddr>().unwrap();
        let order = interleaved(&[
            a("[::1]:1"),
            a("[::2]:1"),
            a("1.1.1.1:1"),
            a("2.2.2.2:1"),
            a("3.3.3.3:1"),
        ]);
        assert_eq!(
            order,
            [
                a("[::1]:1"),
                a("1.1.1.1:1"),
                a("[::2]:1"),
                a("2.2.2.2:1"),
                a("3.3.3.3:1")
            ]
        );
    }

    #[test]
    fn r12_a_refusing_address_does_not_keep_the_next_one_waiting() {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let good = listener.local_addr().unwrap();
            let gone = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            run_here(driver, async {
                any(&[gone, good], Duration::from_secs(5), Leg::Local)
                    .await
                    .expect("the second answers");
                let error = any(&[gone, gone], Duration::from_secs(5), Leg::Local)
                    .await
                    .unwrap_err();
                assert_eq!(error.last.kind(), io::ErrorKind::ConnectionRefused);
                assert_eq!(error.tried, 2);
            })
            .unwrap();
        }
    }
}
