//! One HTTP request body beside its response.
//!
//! A response may come before its request has ended, and then ends the exchange; a request that
//! breaks on the pipe's side ends it as well, because nobody is left to read the response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::Broken;

/// How the request's direction stood when the exchange ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// Carried whole.
    Whole,
    /// The response ended first; the rest of the request was not carried.
    Overtaken,
    /// It broke.
    Broken(Broken),
}

pin_project! {
    /// The future of [`exchange`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Exchange<Q, R, F> {
        #[pin]
        request: Q,
        #[pin]
        response: R,
        fatal: F,
        state: Option<Request>,
    }
}

/// Runs `request` beside `response` until the response has ended. `Err` when the request broke in a
/// way that leaves nobody to answer, as `fatal` says: at the gateway a broken application, at the agent a
/// broken stream.
pub fn exchange<T, Q, R, F>(request: Q, response: R, fatal: F) -> Exchange<Q, R, F>
where
    Q: Future<Output = Result<(), Broken>>,
    R: Future<Output = T>,
    F: Fn(&Broken) -> bool,
{
    Exchange {
        request,
        response,
        fatal,
        state: None,
    }
}

impl<T, Q, R, F> Future for Exchange<Q, R, F>
where
    Q: Future<Output = Result<(), Broken>>,
    R: Future<Output = T>,
    F: Fn(&Broken) -> bool,
{
    type Output = Result<(Request, T), Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.state.is_none()
            && let Poll::Ready(outcome) = this.request.poll(cx)
        {
            match outcome {
                Ok(()) => *this.state = Some(Request::Whole),
                Err(broken) if (this.fatal)(&broken) => return Poll::Ready(Err(broken)),
                Err(broken) => *this.state = Some(Request::Broken(broken)),
            }
        }
        this.response
            .poll(cx)
            .map(|value| Ok((this.state.take().unwrap_or(Request::Overtaken), value)))
    }
}
