//! Every limit of a session: name, default, unit, why, and what it may cost in memory.
//!
//! What happens at a limit is written where it is enforced. A whole session holds at most
//! `session_buffer_bytes` received (in the caller's buffers) + `session_queue_bytes` +
//! `streams_max` x ([`MAX_FRAME_PAYLOAD`] queued + about 300 bytes of bookkeeping).

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::frame::{HEADER_BYTES, size};
use crate::window::{Budget, CREDIT_MAX, INITIAL_CREDIT};

/// Most payload in one frame we send, in bytes: header and payload fill one TLS record
/// (RFC 8446, section 5.1: 2^14 bytes), so a frame never straddles records.
pub const MAX_FRAME_PAYLOAD: usize = 16_384 - HEADER_BYTES;

/// Pings of the peer that may wait for their answer. A peer that sends more before we could
/// write is not answered for the rest, and pays for each. 64 bytes.
pub const PONGS_MAX: usize = 16;

/// Ids at or above this make the session go away by itself: half a billion streams are left, so
/// the replacement has days to come up. No memory.
pub const IDS_SOFT_MAX: u32 = u32::MAX - (1 << 30);

/// How many ids of one parity are remembered as used, counted back from the highest seen.
/// Streams may arrive out of order (both known peers send the SYN with the first frame), but a
/// peer has at most a few hundred streams opened and not yet announced. 512 bytes a session.
pub const IDS_REMEMBERED: u32 = 4096;

/// Bytes below which a data frame counts as tiny.
pub(crate) const TINY_FRAME_BYTES: u32 = 16;

/// Glitch units by what the peer did. A tiny data frame, or a window update we did not earn, is
/// the unit; what has no use at all costs more.
pub(crate) mod cost {
    /// A data frame below 16 bytes, or a window update that was not earned: 1 unit, no memory.
    pub(crate) const TINY: u32 = 1;
    /// A frame for a stream that is gone: 1 unit, because honest peers race with a reset; no memory.
    pub(crate) const DEAD_STREAM: u32 = 1;
    /// A data frame without payload, flag or purpose: 4 units, because it has no use; no memory.
    pub(crate) const EMPTY: u32 = 4;
    /// A frame that means nothing where it stands: 16 units, because no known peer sends it; no memory.
    pub(crate) const ODD: u32 = 16;
    /// Payload behind a FIN or a reset of the peer's own: 16 units, because it breaks its own word; no memory.
    pub(crate) const LATE_DATA: u32 = 16;
    /// A ping: 64 units, because it makes us write; no memory.
    pub(crate) const PING: u32 = 64;
}

/// Payload bytes that earn the peer one glitch unit back, as a power of two: 256 bytes.
pub(crate) const EARN_SHIFT: u32 = 8;

/// All limits of a session. Start from `Settings::default()`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Streams open at once, both sides together. Default 16 384: what one tunnel carries at
    /// 2 s a request and 8 000 requests a second. About 300 bytes each, plus what they queue.
    pub streams_max: usize,
    /// Streams we opened that the peer has not acknowledged. Default 256, the number both known
    /// peers use; bounds what is lost when a peer refuses.
    pub opens_unacked_max: usize,
    /// Streams the peer opened that the caller has not yet touched. Default 256: a peer that
    /// keeps to its own backlog of 256 is never refused.
    pub accept_backlog: usize,
    /// How long the acknowledgement of a touched stream may wait for a frame to ride on.
    /// Default 250 ms: most answers come sooner, and then it costs no frame.
    pub ack_delay: Duration,
    /// Touched streams whose acknowledgement waits; one more and all are sent. Default 32, an
    /// eighth of the peer's backlog.
    pub acks_held_max: usize,

    /// Largest receive window of one stream, in bytes. Default 16 MiB: 1.3 Gbit/s at 100 ms.
    pub window_max: u32,
    /// Bytes by which all receive windows of the session together may exceed their initial
    /// 256 KiB. Default 32 MiB. Not memory by itself: bounded by `session_buffer_bytes`.
    pub session_window_bytes: usize,
    /// The same for all sessions that share this budget. Default 256 MiB, of one session alone
    /// until the caller shares it.
    pub budget: Arc<Budget>,
    /// Bytes received and not yet consumed, all streams. Default 64 MiB. From 3/4 of it new
    /// streams of the peer are refused; a frame that would exceed it costs the stream that holds
    /// most its life. At least 4 initial windows.
    pub session_buffer_bytes: usize,

    /// Bytes one stream may have queued for sending. Default 64 KiB: four frames, enough to keep
    /// a writer busy while the reader of the backend turns round.
    pub send_queue_bytes: usize,
    /// Bytes all streams may have queued before each is held to one frame. Default 64 MiB.
    pub session_queue_bytes: usize,

    /// Silence of the peer after which we ping. Default 4 s.
    pub ping_after: Duration,
    /// Silence of the peer after which it is dead. Default 9 s, so that both ends know within
    /// 10 s.
    pub dead_after: Duration,

    /// Glitch units (see `cost` in the source: a tiny frame is 1, an empty one 4, a ping 64) a
    /// peer may spend at once. Default 65 536. At 75 % we go away, at 100 % the session fails.
    pub glitches_max: u32,
    /// Glitch units that come back each second. Default 20 000: a flood below that costs a few
    /// per cent of a core.
    pub glitches_per_second: u32,
    /// Streams a peer may open and reset, or have refused, at once. Default 32 768: all of
    /// `streams_max`, twice. At 75 % we go away, at 100 % the session fails. Never counts as less
    /// than twice `streams_max`: an app that goes down may reset all its streams at once.
    pub churn_max: u32,
    /// Streams forgiven each second. Default 2 000.
    pub churn_per_second: u32,
    /// Resets that wait to be written. Default 32 768; more means that the peer does not read,
    /// and fails the session. 8 bytes each: 256 KiB. Never counts as less than `streams_max`.
    pub resets_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams_max: 16_384,
            opens_unacked_max: 256,
            accept_backlog: 256,
            ack_delay: Duration::from_millis(250),
            acks_held_max: 32,
            window_max: 16 << 20,
            session_window_bytes: 32 << 20,
            budget: Arc::new(Budget::new(256 << 20)),
            session_buffer_bytes: 64 << 20,
            send_queue_bytes: 64 << 10,
            session_queue_bytes: 64 << 20,
            ping_after: Duration::from_secs(4),
            dead_after: Duration::from_secs(9),
            glitches_max: 65_536,
            glitches_per_second: 20_000,
            churn_max: 32_768,
            churn_per_second: 2_000,
            resets_max: 32_768,
        }
    }
}

/// Which setting does not go together with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsError {
    /// The field.
    pub name: &'static str,
    /// What must hold.
    pub rule: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.name, self.rule)
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// Checks the relations between the limits; [`Session::new`](crate::Session::new) insists on
    /// them.
    ///
    /// # Errors
    /// The first setting that does not fit.
    pub fn check(&self) -> Result<(), SettingsError> {
        let rules = [
            (self.streams_max >= 1, "streams_max", "must be at least 1"),
            (
                self.streams_max <= 1 << 20,
                "streams_max",
                "must be at most 1048576",
            ),
            (
                self.opens_unacked_max >= 1,
                "opens_unacked_max",
                "must be at least 1",
            ),
            (
                self.accept_backlog >= 1,
                "accept_backlog",
                "must be at least 1",
            ),
            (
                self.window_max >= INITIAL_CREDIT,
                "window_max",
                "must be at least the initial window, 262144",
            ),
            (
                self.window_max <= CREDIT_MAX,
                "window_max",
                "must be at most 2147483647",
            ),
            (
                // A stream taken in below 3/4 must be able to fill its first window.
                self.session_buffer_bytes >= 4 * size(INITIAL_CREDIT),
                "session_buffer_bytes",
                "must be at least 4 initial windows, 1048576",
            ),
            (
                self.session_window_bytes <= self.session_buffer_bytes,
                "session_window_bytes",
                "must be at most `session_buffer_bytes`",
            ),
            (
                self.send_queue_bytes >= MAX_FRAME_PAYLOAD,
                "send_queue_bytes",
                "must hold one whole frame, 16372",
            ),
            (!self.ping_after.is_zero(), "ping_after", "must not be zero"),
            (
                self.dead_after > self.ping_after,
                "dead_after",
                "must be above `ping_after`",
            ),
            (
                self.glitches_max >= 8 * cost::PING,
                "glitches_max",
                "must allow for a few pings, 512",
            ),
        ];
        rules
            .into_iter()
            .find(|(holds, ..)| !holds)
            .map_or(Ok(()), |(_, name, rule)| Err(SettingsError { name, rule }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn each_relation_holds_at_its_border_and_breaks_one_beyond() {
        type Change = fn(&mut Settings);
        let pairs: [(&str, Change, Change); 11] = [
            ("streams_max", |s| s.streams_max = 1, |s| s.streams_max = 0),
            (
                "streams_max",
                |s| s.streams_max = 1 << 20,
                |s| s.streams_max = (1 << 20) + 1,
            ),
            (
                "opens_unacked_max",
                |s| s.opens_unacked_max = 1,
                |s| s.opens_unacked_max = 0,
            ),
            (
                "accept_backlog",
                |s| s.accept_backlog = 1,
                |s| s.accept_backlog = 0,
            ),
            (
                "window_max",
                |s| s.window_max = INITIAL_CREDIT,
                |s| s.window_max = INITIAL_CREDIT - 1,
            ),
            (
                "window_max",
                |s| s.window_max = CREDIT_MAX,
                |s| s.window_max = CREDIT_MAX + 1,
            ),
            (
                "session_buffer_bytes",
                |s| {
                    s.session_buffer_bytes = 1 << 20;
                    s.session_window_bytes = 0;
                },
                |s| {
                    s.session_buffer_bytes = (1 << 20) - 1;
                    s.session_window_bytes = 0;
                },
            ),
            (
                "session_window_bytes",
                |s| s.session_window_bytes = s.session_buffer_bytes,
                |s| s.session_window_bytes = s.session_buffer_bytes + 1,
            ),
            (
                "send_queue_bytes",
                |s| s.send_queue_bytes = MAX_FRAME_PAYLOAD,
                |s| s.send_queue_bytes = MAX_FRAME_PAYLOAD - 1,
            ),
            (
                "dead_after",
                |s| s.dead_after = s.ping_after + Duration::from_nanos(1),
                |s| s.dead_after = s.ping_after,
            ),
            (
                "glitches_max",
                |s| s.glitches_max = 512,
                |s| s.glitches_max = 511,
            ),
        ];
        for (name, holds, breaks) in pairs {
            let mut settings = Settings::default();
            holds(&mut settings);
            assert_eq!(settings.check(), Ok(()), "{name} at its border");
            let mut settings = Settings::default();
            breaks(&mut settings);
            assert_eq!(settings.check().unwrap_err().name, name);
        }
    }

    #[test]
    fn a_full_frame_is_one_tls_record() {
        assert_eq!(MAX_FRAME_PAYLOAD + HEADER_BYTES, 1 << 14);
    }
}
