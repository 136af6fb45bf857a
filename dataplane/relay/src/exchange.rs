//! One HTTP request body beside its response.
//!
//! A response may come before its request has ended, and then ends the exchange; a request that
//! breaks on the pipe's side ends it as well, because nobody is left to read the response.

use std::future::Future;
use std::task::Poll;

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

/// Runs `request` beside `response` until the response has ended. `Err` when the request broke in a
/// way that leaves nobody to answer: at the gateway a broken application, at the agent a broken stream.
///
/// # Errors
/// The break of the request when `fatal` says so.
pub async fn exchange<T>(
    request: impl Future<Output = Result<(), Broken>>,
    response: impl Future<Output = T>,
    fatal: impl Fn(&Broken) -> bool,
) -> Result<(Request, T), Broken> {
    let mut request = std::pin::pin!(request);
    let mut response = std::pin::pin!(response);
    let mut state = None;
    std::future::poll_fn(|cx| {
        if state.is_none()
            && let Poll::Ready(outcome) = request.as_mut().poll(cx)
        {
            match outcome {
                Ok(()) => state = Some(Request::Whole),
                Err(broken) if fatal(&broken) => return Poll::Ready(Err(broken)),
                Err(broken) => state = Some(Request::Broken(broken)),
            }
        }
        match response.as_mut().poll(cx) {
            Poll::Ready(value) => {
                Poll::Ready(Ok((state.take().unwrap_or(Request::Overtaken), value)))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
