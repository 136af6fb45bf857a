//! A connection to an OTLP collector: HTTP/1.1, one request at a time, each answered.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::dial::{self, within};
use crate::forward::{Deliver, Failed, Sent, Settles, Why, unix_ms};
use crate::limits::{ANSWER_BYTES_MAX, DELIVER_LIMIT, REFUSALS_MAX};
use crate::otlp::{self, Verdict, verdict};
use crate::place::{Gap, Item, Lines};
use crate::settings::Otlp;
use crate::status::Who;
use crate::tls;

pub(crate) struct OtlpLink {
    to: Otlp,
    who: Arc<Who>,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl OtlpLink {
    pub(crate) fn new(to: Otlp, who: Arc<Who>) -> Self {
        Self {
            to,
            who,
            open: None,
        }
    }

    async fn connect(&self) -> Result<Open, Failed> {
        match &self.to.tls {
            Some(files) => over(dial::tls(&self.to.at, &self.to.at.host, files).await?).await,
            None => over(dial::tcp(&self.to.at).await?).await,
        }
    }

    async fn ask(
        &mut self,
        gap: Option<Gap>,
        lines: &Lines,
        items: &[Item],
    ) -> Result<Verdict, Failed> {
        let fields = tls::headers(self.to.headers_file.as_deref())
            .map_err(|why| Failed::new(Why::Files, why))?;
        // A connection that was closed while nobody used it is not a failure.
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.sender.is_closed())
        {
            self.open = Some(self.connect().await?);
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.to.path.as_str())
            .header(HOST, self.to.at.to_string())
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let body = otlp::request(gap, lines, items, &self.who, unix_ms());
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failed::new(Why::Files, error.to_string()))?;
        let Some(open) = &mut self.open else {
            return Err(Failed::new(
                Why::Closed,
                "the connection is closed".to_owned(),
            ));
        };
        let lost = |error: hyper::Error| Failed::new(Why::Closed, format!("http: {error}"));
        within(DELIVER_LIMIT, "answer of the collector", async {
            open.sender.ready().await.map_err(lost)?;
            let answer = open.sender.send_request(request).await.map_err(lost)?;
            let status = answer.status().as_u16();
            let wait = answer.headers().get(RETRY_AFTER).cloned();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| Failed::new(Why::Closed, format!("the answer: {error}")))?
                .to_bytes();
            Ok(verdict(
                status,
                wait.as_ref().map(|wait| wait.as_bytes()),
                &body,
            ))
        })
        .await
    }
}

async fn over<T>(stream: T) -> Result<Open, Failed>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driving) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failed::new(Why::Closed, format!("http: {error}")))?;
    let driver = tokio::spawn(async move {
        // Whoever asks hears of it by the request that fails.
        let _ = driving.await;
    });
    Ok(Open { sender, driver })
}

impl Deliver for OtlpLink {
    // A collector that refuses records for good means one of them, as a rule: it is looked for by halves, and passed
    // over when others of the batch were taken. One that takes none is told of, and tried again.
    async fn send(&mut self, lines: &Lines) -> Result<Sent, Failed> {
        let mut sent = Sent {
            settles: Settles::Now,
            rejected: 0,
            words: String::new(),
        };
        let mut taken = 0;
        let mut refusals = 0;
        let mut gap = lines.gap();
        let mut parts = vec![lines.items()];
        while let Some(items) = parts.pop() {
            match self.ask(gap, lines, items).await? {
                Verdict::Taken { rejected, words } => {
                    taken += items.len();
                    refusals = 0;
                    // Told with what was taken first.
                    gap = None;
                    // More than it was given it cannot have refused.
                    let given = u64::try_from(items.len()).unwrap_or(u64::MAX);
                    sent.rejected = sent.rejected.saturating_add(rejected.min(given));
                    if rejected > 0 {
                        sent.words = words;
                    }
                }
                Verdict::Later { wait, words } => {
                    return Err(Failed {
                        why: Why::Refused,
                        words,
                        wait,
                    });
                }
                Verdict::Never { words } => {
                    refusals += 1;
                    if refusals >= REFUSALS_MAX {
                        return Err(Failed::new(Why::Refused, words));
                    }
                    sent.words = words;
                    if items.len() > 1 {
                        let (one, two) = items.split_at(items.len() / 2);
                        parts.push(two);
                        parts.push(one);
                    } else {
                        sent.rejected += 1;
                    }
                }
            }
        }
        if taken == 0 {
            return Err(Failed::new(Why::Refused, sent.words));
        }
        Ok(sent)
    }

    async fn ended(&mut self) {
        // Nothing hangs on a connection of which every request was answered.
        std::future::pending().await
    }

    async fn finish(&mut self) -> bool {
        self.open = None;
        true
    }

    fn close(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests;
