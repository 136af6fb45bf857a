//! The record layer: records sealed and opened, beside rustls's own buffered path.
//!
//! The same work in both: the same suite (AES-128-GCM, both from ring), the same plaintext in the
//! same records, plaintext in memory on one side and ciphertext in memory on the other. Sealing ends
//! where a socket would be handed the record; rustls writes into a sink that takes it without
//! copying. Opening begins where a socket has filled a buffer and ends where the plaintext can be
//! read. rustls is used in its cheapest way: its plaintext is looked at where it lies (`fill_buf`)
//! and not copied out once more. What is left is what rustls copies into buffers of its own.

mod ours;
mod theirs;

use crate::case::{Case, Who};

/// Plaintext of a small record.
const SMALL: usize = 1024;
/// Plaintext of a full record (RFC 8446, section 5.1).
const LARGE: usize = adit_tls::MAX_PLAINTEXT;
/// Records in a batch: a full row of slots is 16 of the large ones.
const RECORDS: u32 = 16;

pub(crate) fn cases() -> Vec<Case> {
    let seal = |name, unit, ours| Case::new(name, unit, RECORDS, ours);
    let seal_small = seal("tls/seal-1k", "a record of 1,024 bytes sealed", || {
        ours::seal(SMALL)
    })
    .carrying(1024);
    let seal_large = seal("tls/seal-16k", "a record of 16,384 bytes sealed", || {
        ours::seal(LARGE)
    })
    .carrying(16_384);
    let open_small = seal("tls/open-1k", "a record of 1,024 bytes opened", || {
        ours::open(SMALL)
    })
    .carrying(1024);
    let open_large = seal("tls/open-16k", "a record of 16,384 bytes opened", || {
        ours::open(LARGE)
    })
    .carrying(16_384);
    vec![
        seal_small,
        seal_small.by(Who::Rustls, || theirs::seal(SMALL)),
        seal_large,
        seal_large.by(Who::Rustls, || theirs::seal(LARGE)),
        open_small,
        open_small.by(Who::Rustls, || theirs::open(SMALL)),
        open_large,
        open_large.by(Who::Rustls, || theirs::open(LARGE)),
    ]
}
