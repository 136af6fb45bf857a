//! A connection to a sink: name, TCP, TLS.

use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::forward::{Failed, Why};
use crate::limits::{CONNECT_LIMIT, UNACKED_LIMIT};
use crate::settings::Target;
use crate::tls::{self, TlsFiles};

/// Dials, and shakes hands.
pub(crate) async fn tls(
    at: &Target,
    name: &str,
    files: &TlsFiles,
) -> Result<TlsStream<TcpStream>, Failed> {
    let config = tls::config(files).map_err(|why| Failed::new(Why::Files, why))?;
    let name = ServerName::try_from(name.to_owned()).map_err(|_invalid| {
        Failed::new(
            Why::Tls,
            format!("{name} is neither a DNS name nor an address"),
        )
    })?;
    within(CONNECT_LIMIT, "connection", async {
        let socket = dial(at).await?;
        TlsConnector::from(config)
            .connect(name, socket)
            .await
            .map_err(|error| Failed::new(Why::Tls, format!("tls: {at}: {error}")))
    })
    .await
}

/// Dials.
pub(crate) async fn tcp(at: &Target) -> Result<TcpStream, Failed> {
    within(CONNECT_LIMIT, "connection", dial(at)).await
}

async fn dial(at: &Target) -> Result<TcpStream, Failed> {
    let failed = |error: std::io::Error| Failed::new(Why::Dial, format!("tcp: {at}: {error}"));
    let socket = TcpStream::connect((at.host.as_str(), at.port))
        .await
        .map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let options = SockRef::from(&socket);
    // A machine that is gone without a word is noticed: with something unacknowledged, and with nothing to say.
    options
        .set_tcp_user_timeout(Some(UNACKED_LIMIT))
        .and_then(|()| {
            let probes = TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE / 3);
            options.set_tcp_keepalive(&probes)
        })
        .map_err(failed)?;
    Ok(socket)
}

/// Waits so long.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    doing: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, doing).await {
        Ok(done) => done,
        Err(_elapsed) => Err(Failed::new(
            Why::Timeout,
            format!("no {what} within {} s", limit.as_secs()),
        )),
    }
}

/// Silence after which the other machine is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::limits::DELIVER_LIMIT;

    #[tokio::test(start_paused = true)]
    async fn what_takes_connect_limit_or_deliver_limit_is_in_time_and_a_second_more_is_not() {
        for limit in [CONNECT_LIMIT, DELIVER_LIMIT] {
            let after = async |wait: Duration| {
                within(limit, "answer", async {
                    tokio::time::sleep(wait).await;
                    Ok(())
                })
                .await
            };
            let second = Duration::from_secs(1);
            assert!(after(limit - second).await.is_ok());
            let began = Instant::now();
            let failed = after(limit + second).await.unwrap_err();
            assert_eq!((failed.why, began.elapsed()), (Why::Timeout, limit));
        }
    }

    #[tokio::test]
    async fn a_socket_gives_up_after_unacked_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Target {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let socket = tcp(&at).await.unwrap();
        let set = SockRef::from(&socket).tcp_user_timeout().unwrap();
        assert_eq!(set, Some(UNACKED_LIMIT));
        drop(listener);
        assert_eq!(tcp(&at).await.unwrap_err().why, Why::Dial);
    }
}
