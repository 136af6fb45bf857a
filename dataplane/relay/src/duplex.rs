//! Both directions of an opaque conversation: TCP, TLS, SOCKS, an upgraded HTTP connection.

use std::collections::VecDeque;

use adit_runtime::local::both_unless_failed;
use adit_transport::{Piece, Stream, Wire};

use crate::Broken;
use crate::pipe::{stream_to_wire, wire_to_stream};

/// How a conversation ended and what it carried.
#[derive(Debug)]
pub struct Ended {
    /// Bytes from the pipe to the stream.
    pub to_stream: u64,
    /// Bytes from the stream to the pipe.
    pub to_wire: u64,
    /// `None` when both sides ended in good order.
    pub broken: Option<Broken>,
}

/// Carries both directions until both have ended, or one breaks. Half-close passes through: one side
/// may end and go on reading. `first` are bytes of the stream that were received already.
///
/// When a side broke, the stream is reset and the pipe is closed abruptly, so that nobody takes a
/// part for the whole.
pub async fn duplex<W: Wire>(stream: &Stream, first: &mut VecDeque<Piece>, wire: &W) -> Ended {
    let mut to_stream = 0;
    let mut to_wire = 0;
    let mut spill = Vec::new();
    let outcome = both_unless_failed(
        async {
            wire_to_stream(wire, stream, None, &mut spill, &mut to_stream).await?;
            stream.finish();
            Ok(())
        },
        async {
            stream_to_wire(stream, first, wire, None, &mut to_wire).await?;
            wire.finish().await.map_err(Broken::Wire)
        },
    )
    .await;
    if outcome.is_err() {
        stream.reset();
        wire.abort();
    }
    Ended {
        to_stream,
        to_wire,
        broken: outcome.err(),
    }
}
