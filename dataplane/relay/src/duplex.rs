//! Both directions of an opaque conversation: TCP, TLS, SOCKS, an upgraded HTTP connection.

use std::collections::VecDeque;

use adit_runtime::local::both_unless_failed;
use adit_transport::{Piece, Stream, Wire};

use crate::Broken;
use crate::pipe::{stream_to_wire, wire_to_stream};

/// Carries both directions until both have ended, or one breaks. Half-close passes through: one side
/// may end and go on reading. `first` are bytes of the stream that were received already.
///
/// When a side broke, the stream is reset and the pipe is closed abruptly, so that nobody takes a
/// part for the whole.
///
/// # Errors
/// [`Broken`], by the side that failed first.
pub fn duplex<W: Wire>(
    stream: &Stream,
    first: &mut VecDeque<Piece>,
    wire: &W,
) -> impl Future<Output = Result<(), Broken>> {
    async move {
        let outcome = both_unless_failed(
            async {
                wire_to_stream(wire, stream, None).await?;
                stream.finish();
                Ok(())
            },
            async {
                stream_to_wire(stream, first, wire, None).await?;
                // Said once at the end: the conversation in between has no room for it.
                Box::pin(wire.finish()).await.map_err(Broken::Wire)
            },
        )
        .await;
        if outcome.is_err() {
            stream.reset();
            wire.abort();
        }
        outcome
    }
}
