//! The multiplexer: frames out, frames in, and whole streams, the last two beside the `yamux` crate.
//!
//! The crate has no encoder of its own to measure: it has connections over sockets. So it is
//! compared where both do the same, both ends of an exchange over the same [`Pipe`](crate::pipe):
//! the same payload in the same frames, the peer's credit and acknowledgements included. Each end
//! copies into the pipe and out of it once. What more is copied is how each is made, and what is
//! compared: ours queues the caller's memory and gives ranges of the block it was read into, the
//! crate copies into frames on both sides and from there to the reader. Both ends run on one
//! thread; the crate needs an executor, which is the smallest of the `futures` crate.

mod ours;
mod theirs;

use adit_mux::MAX_FRAME_PAYLOAD;

use crate::case::{Case, Who};

/// Payload of a small frame.
const SMALL: usize = 1024;
/// Payload of the largest frame we send: 12 bytes less than 16 KiB, so that it fills a record.
const LARGE: usize = MAX_FRAME_PAYLOAD;
/// Bytes said in each direction of a stream.
const WORDS: usize = 100;
/// Frames in a batch: those of 16 KiB just fit the first window of 256 KiB.
const FRAMES: u32 = 16;
/// Streams in a batch.
const STREAMS: u32 = 16;

pub(crate) fn cases() -> Vec<Case> {
    let exchange_small = Case::new(
        "mux/exchange-1k",
        "1,024 bytes from one end to the other over a pipe, with their share of credit",
        FRAMES,
        || ours::exchange(SMALL),
    )
    .carrying(1024);
    let exchange_large = Case::new(
        "mux/exchange-16k",
        "16,372 bytes from one end to the other over a pipe, with their share of credit",
        FRAMES,
        || ours::exchange(LARGE),
    )
    .carrying(16_372);
    let stream = Case::new(
        "mux/stream",
        "a stream opened, 100 bytes each way over a pipe, closed by both ends",
        STREAMS,
        ours::streams,
    );
    vec![
        Case::new(
            "mux/encode-1k",
            "a frame of 1,024 bytes queued and picked (`send`, `next_frame`)",
            FRAMES,
            || ours::encode(SMALL),
        ),
        Case::new(
            "mux/encode-16k",
            "a frame of 16,372 bytes queued and picked (`send`, `next_frame`)",
            FRAMES,
            || ours::encode(LARGE),
        ),
        Case::new(
            "mux/decode-1k",
            "a frame of 1,024 bytes read and consumed (`receive`, `consumed`)",
            FRAMES,
            || ours::decode(SMALL),
        ),
        Case::new(
            "mux/decode-16k",
            "a frame of 16,372 bytes read and consumed (`receive`, `consumed`)",
            FRAMES,
            || ours::decode(LARGE),
        ),
        exchange_small,
        exchange_small.by(Who::Yamux, || theirs::exchange(SMALL)),
        exchange_large,
        exchange_large.by(Who::Yamux, || theirs::exchange(LARGE)),
        stream,
        stream.by(Who::Yamux, theirs::streams),
    ]
}

/// What is said. Nobody looks at it.
static PAYLOAD: [u8; LARGE] = [0x5a; LARGE];

fn payload(bytes: usize) -> &'static [u8] {
    PAYLOAD.get(..bytes).expect("payload fits a frame")
}
