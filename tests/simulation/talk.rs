//! One stream as one of its two users sees it: what it says, what it hears, when it is in the mood for either.

use std::sync::OnceLock;
use std::time::Duration;

use adit_tunnel::{StreamId, Tunnel};

use crate::dice::Dice;
use crate::end::slot_with;

/// A user of a stream.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) id: StreamId,
    /// This end opened the stream.
    pub(crate) ours: bool,
    pub(crate) manner: Manner,
    pub(crate) said: usize,
    pub(crate) fin_said: bool,
    pub(crate) heard: usize,
    pub(crate) consumed: usize,
    pub(crate) fin_heard: bool,
    pub(crate) acknowledged: bool,
    /// The stream was used, so that the peer may know that it was taken.
    pub(crate) touched: bool,
    pub(crate) over: Option<Over>,
    /// Bytes the peer lets us say in all, as far as we were told.
    pub(crate) promised: usize,
    /// An alarm will call for this stream.
    pub(crate) alarm_set: bool,
}

/// How a user behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) to_say: usize,
    /// Most bytes in one frame.
    chunk: usize,
    /// Pause after each burst of so many frames.
    think: Duration,
    burst: usize,
    /// Says nothing before it has heard all, as one that answers a request.
    answers: bool,
    /// Pause before what was heard is consumed; none means at once.
    digest: Duration,
    /// What is consumed at a time, of what there is: all of it, or a part.
    sips: usize,
    /// Resets the stream once so many bytes were said and heard.
    patience: Option<usize>,
}

/// How a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    ResetByUs,
    ResetByPeer,
}

impl Manner {
    pub(crate) fn new(dice: &mut Dice, ours: bool, bytes_max: usize, rude: bool) -> Self {
        let to_say = if dice.chance(15) {
            0
        } else {
            dice.below(bytes_max + 1)
        };
        // At most 200 frames a direction.
        let chunk = dice.pick(&[1, 100, 4096, 4097, 16_372]).max(to_say / 200);
        let hasty = dice.chance(50);
        Self {
            to_say,
            chunk,
            think: if hasty {
                Duration::ZERO
            } else {
                crate::plan::ms(dice.pick(&[1, 20, 300]))
            },
            burst: dice.pick(&[1, 10, 200]),
            answers: !ours && dice.chance(50),
            digest: if dice.chance(60) {
                Duration::ZERO
            } else {
                crate::plan::ms(dice.pick(&[1, 100, 2000]))
            },
            sips: dice.pick(&[1, 1, 4]),
            patience: (rude && dice.chance(20)).then(|| dice.below(bytes_max)),
        }
    }
}

impl Talk {
    pub(crate) fn new(id: StreamId, ours: bool, manner: Manner) -> Self {
        Self {
            id,
            ours,
            manner,
            said: 0,
            fin_said: false,
            heard: 0,
            consumed: 0,
            fin_heard: false,
            acknowledged: false,
            touched: false,
            over: None,
            promised: 0,
            alarm_set: false,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.fin_said && self.fin_heard && self.consumed == self.heard
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.over.is_some() || self.is_complete()
    }

    pub(crate) fn unread(&self) -> usize {
        if self.over.is_some() {
            0
        } else {
            self.heard - self.consumed
        }
    }

    /// The bytes must be the next ones of what the peer says on this stream.
    pub(crate) fn hear(&mut self, bytes: &[u8], speaker: usize) {
        assert!(!self.fin_heard, "stream {}: data after its end", self.id);
        check(self.id, speaker, self.heard, bytes);
        self.heard += bytes.len();
    }

    /// Whether the user has had enough.
    pub(crate) fn is_fed_up(&self) -> bool {
        self.manner
            .patience
            .is_some_and(|patience| self.said + self.heard >= patience)
    }

    pub(crate) fn digest(&self) -> Duration {
        self.manner.digest
    }

    /// Consumes some of what was heard.
    pub(crate) fn sip(&mut self, tunnel: &mut Tunnel<Vec<u8>>, now: Duration) {
        let bytes = self.unread().div_ceil(self.manner.sips);
        if bytes > 0 {
            self.touched = true;
            self.consumed += bytes;
            tunnel.consumed(self.id, bytes, now);
        }
    }

    /// Says what it may. Returns the pause it wants before it goes on by itself; without one it goes on when the
    /// tunnel says `Writable`, and only then: a `Writable` that does not come leaves it waiting for ever.
    pub(crate) fn say(
        &mut self,
        tunnel: &mut Tunnel<Vec<u8>>,
        speaker: usize,
        dice: &mut Dice,
    ) -> Option<Duration> {
        if self.over.is_some() || self.fin_said || (self.manner.answers && !self.fin_heard) {
            return None;
        }
        let mut frames = 0;
        loop {
            let left = self.manner.to_say - self.said;
            if left == 0 {
                self.touched = true;
                self.fin_said = true;
                tunnel.finish(self.id);
                return None;
            }
            let room = tunnel.sendable(self.id);
            self.promised = self.promised.max(self.said + room);
            if room == 0 {
                return None;
            }
            if frames == self.manner.burst && !self.manner.think.is_zero() {
                return Some(self.manner.think);
            }
            let bytes = room.min(left).min(self.manner.chunk);
            let fin = bytes == left && dice.chance(50);
            let slot = slot_with(&letters(self.id, speaker, self.said, bytes));
            if let Err(refused) = tunnel.send(self.id, slot, fin) {
                panic!(
                    "stream {}: {room} bytes were sendable, {bytes} were not: {refused:?}",
                    self.id
                );
            }
            self.touched = true;
            self.said += bytes;
            frames += 1;
            if fin {
                self.fin_said = true;
                return None;
            }
        }
    }
}

/// A page of random bytes, of a prime length: what is said on each stream is this page, from a place of its own. A byte
/// that is lost, doubled, moved or of another stream does not go with its neighbours.
fn page() -> &'static [u8] {
    static PAGE: OnceLock<Vec<u8>> = OnceLock::new();
    PAGE.get_or_init(|| {
        let mut dice = Dice::new(1);
        (0..65_521)
            .map(|_| u8::try_from(dice.below(256)).unwrap())
            .collect()
    })
}

fn place(id: StreamId, speaker: usize, offset: usize) -> usize {
    let stream = usize::try_from(id.get()).unwrap();
    (stream * 2 + speaker)
        .wrapping_mul(7919)
        .wrapping_add(offset)
        % page().len()
}

fn letters(id: StreamId, speaker: usize, offset: usize, length: usize) -> Vec<u8> {
    let start = place(id, speaker, offset);
    page()
        .iter()
        .cycle()
        .skip(start)
        .take(length)
        .copied()
        .collect()
}

fn check(id: StreamId, speaker: usize, offset: usize, bytes: &[u8]) {
    let mut at = place(id, speaker, offset);
    let mut rest = bytes;
    while !rest.is_empty() {
        let expected = &page()[at..];
        let length = expected.len().min(rest.len());
        assert!(
            rest[..length] == expected[..length],
            "stream {id}: other bytes than were said, {} bytes or fewer behind {offset}",
            bytes.len()
        );
        rest = &rest[length..];
        at = 0;
    }
}
