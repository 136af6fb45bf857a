//! How much a peer may ask of this room, and how long one key may serve.
//!
//! Only the numbers and their reasons; the places that count are `handshake`, `records` and
//! `post_handshake`.

/// Most handshake bytes one peer may send before it has proven who it is: 32 KiB.
///
/// A certificate chain of four RSA-4096 certificates takes about 8 KiB, so this is room for four
/// such. Worst case for each tunnel that is being set up: the caller's input buffer, this many
/// bytes and one record (32 KiB + 16 KiB), and as much again inside rustls.
pub const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// Most records one peer may cut its handshake into: 256.
///
/// Joining fragments costs time for each record. A peer with the smallest common fragment size
/// (512 bytes) needs fewer than 40 for a chain of four RSA-4096 certificates.
pub const HANDSHAKE_RECORDS_MAX: u32 = 256;

/// Largest message after the handshake (`NewSessionTicket`, `KeyUpdate`), without its header:
/// 16 KiB.
///
/// OpenSSL puts the whole session, with our certificate chain, into a ticket: 2 to 6 KiB. Worst
/// case for each tunnel: this and one record (32 KiB), only while a message is incomplete.
pub const HANDSHAKE_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// After this many records under one key, sealing is refused: 2^24.
///
/// The limit for AES-GCM is 2^24.5 full records (RFC 8446, section 5.5). [`Limits`] asks for a new
/// key long before; this is the wall behind it if nobody called `maintenance`.
pub const SEAL_RECORDS_MAX: u64 = 1 << 24;

/// Limits that one tunnel may set; the defaults are right outside of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Records we seal under one key before a key update of ours is due. Default 2^22 (64 GiB of
    /// full records): a quarter of [`SEAL_RECORDS_MAX`], and a sixth of what AES-GCM stands.
    pub key_update_records: u64,
    /// Records the peer may seal under one key before we ask it for a new one. Default 2^23: twice
    /// ours, so that two of our own ends never ask, and half of [`SEAL_RECORDS_MAX`].
    pub ask_update_records: u64,
    /// Records and messages in a row that carry no payload: empty records, key updates, session
    /// tickets. Default 64: OpenSSL sends two tickets, rustls four; BoringSSL and rustls stop at
    /// 32 key updates, each of which counts here as one record and one message.
    pub fruitless_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_update_records: 1 << 22,
            ask_update_records: 1 << 23,
            fruitless_max: 64,
        }
    }
}

impl Limits {
    /// The same limits with a key update of ours due after `records` records, at least one and at
    /// most half of [`SEAL_RECORDS_MAX`].
    #[must_use]
    pub fn with_key_update_records(mut self, records: u64) -> Self {
        self.key_update_records = records.clamp(1, SEAL_RECORDS_MAX / 2);
        self
    }

    /// The same limits, but the peer is asked for a new key after `records` of its records, at
    /// least one.
    #[must_use]
    pub fn with_ask_update_records(mut self, records: u64) -> Self {
        self.ask_update_records = records.max(1);
        self
    }

    /// The same limits with `count` fruitless records and messages allowed in a row.
    #[must_use]
    pub fn with_fruitless_max(mut self, count: u32) -> Self {
        self.fruitless_max = count;
        self
    }
}

const _: () = assert!(
    SEAL_RECORDS_MAX < 23_726_566,
    "2^24.5, the limit of AES-GCM, lies above the wall"
);
