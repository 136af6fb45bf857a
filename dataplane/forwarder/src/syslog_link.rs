//! A connection to a syslog server over TLS (RFC 5425).
//!
//! There is no acknowledgement: what was written counts as delivered when the connection lived on for a while, or when
//! the server answered our close with its own.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dial::{self, within};
use crate::forward::{Deliver, Failed, Sent, Settles, Why, unix_ms};
use crate::limits::DELIVER_LIMIT;
use crate::place::Lines;
use crate::settings::Syslog;
use crate::status::Who;
use crate::syslog;

pub(crate) struct SyslogLink {
    to: Syslog,
    who: Arc<Who>,
    open: Option<Open>,
}

struct Open {
    read: ReadHalf<TlsStream<TcpStream>>,
    write: WriteHalf<TlsStream<TcpStream>>,
}

impl SyslogLink {
    pub(crate) fn new(to: Syslog, who: Arc<Who>) -> Self {
        Self {
            to,
            who,
            open: None,
        }
    }
}

impl Open {
    // Returns when the server has closed: whether in good order. It has nothing to say otherwise.
    async fn ended(&mut self) -> bool {
        let mut ignored = [0; 256];
        loop {
            match self.read.read(&mut ignored).await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_error) => return false,
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let lost = |error: std::io::Error| Failed::new(Why::Closed, format!("connection: {error}"));
        let mut ignored = [0; 256];
        let Self { read, write } = self;
        let writing = async {
            write.write_all(bytes).await.map_err(lost)?;
            write.flush().await.map_err(lost)
        };
        let reading = async {
            loop {
                match read.read(&mut ignored).await {
                    Ok(0) => {
                        return Failed::new(
                            Why::Closed,
                            "the server has closed the connection".to_owned(),
                        );
                    }
                    Ok(_) => {}
                    Err(error) => return lost(error),
                }
            }
        };
        tokio::select! {
            biased;
            failed = reading => Err(failed),
            written = writing => written,
        }
    }
}

impl Deliver for SyslogLink {
    async fn send(&mut self, lines: &Lines) -> Result<Sent, Failed> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let stream = dial::tls(&self.to.at, &self.to.server_name, &self.to.tls).await?;
                let (read, write) = tokio::io::split(stream);
                none.insert(Open { read, write })
            }
        };
        let bytes = syslog::messages(lines, &self.to, &self.who, unix_ms());
        within(DELIVER_LIMIT, "progress of the server", open.write(&bytes)).await?;
        Ok(Sent {
            settles: Settles::Later,
            rejected: 0,
            words: String::new(),
        })
    }

    async fn ended(&mut self) {
        match &mut self.open {
            Some(open) => {
                open.ended().await;
            }
            None => std::future::pending().await,
        }
    }

    async fn finish(&mut self) -> bool {
        let Some(mut open) = self.open.take() else {
            return false;
        };
        // Its close behind ours says that it has read all that stood before ours.
        open.write.shutdown().await.is_ok() && open.ended().await
    }

    fn close(&mut self) {
        self.open = None;
    }
}
