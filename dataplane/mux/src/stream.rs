//! One stream: its states as a table of states and events, and what belongs to it.
//!
//! The table says what follows from an event; carrying it out (frames, events, budgets) is left to
//! `session`.

use alloc::collections::VecDeque;
use core::cell::Cell;
use core::time::Duration;

use crate::frame::{Payload, StreamId, length};
use crate::window::{ReceiveWindow, SendWindow};

/// How far each direction has come. "Finishing": our FIN was asked for and has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Finishing,
    LocalEnded,
    RemoteEnded,
    RemoteEndedFinishing,
    /// Both FINs have passed; the stream stays only until its last bytes are consumed.
    Closed,
}

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// The caller wants our FIN.
    Finish,
    /// Our FIN is handed out for writing.
    FinLeft,
    /// A data frame with payload came.
    PeerData,
    /// The peer's FIN came, after its data.
    PeerFin,
    /// The peer's RST came.
    PeerReset,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    To(State),
    /// Nothing changes, and that is in order.
    Stay,
    /// Nothing changes; the peer repeats itself, or is late.
    Ignore,
    /// The peer broke the rules of this stream: it is reset.
    Violation,
    /// The stream is gone at once.
    Gone,
}

impl State {
    pub(crate) const fn on(self, happening: Happening) -> Step {
        use Happening::{FinLeft, Finish, PeerData, PeerFin, PeerReset};
        use State::{Closed, Finishing, LocalEnded, Open, RemoteEnded, RemoteEndedFinishing};
        use Step::{Gone, Ignore, Stay, To, Violation};
        #[rustfmt::skip]
        let step = match (self, happening) {
            (Open,                 Finish)    => To(Finishing),
            (Open,                 FinLeft)   => Ignore,
            (Open,                 PeerData)  => Stay,
            (Open,                 PeerFin)   => To(RemoteEnded),
            (Open,                 PeerReset) => Gone,

            (Finishing,            Finish)    => Stay,
            (Finishing,            FinLeft)   => To(LocalEnded),
            (Finishing,            PeerData)  => Stay,
            (Finishing,            PeerFin)   => To(RemoteEndedFinishing),
            (Finishing,            PeerReset) => Gone,

            (LocalEnded,           Finish)    => Stay,
            (LocalEnded,           FinLeft)   => Ignore,
            (LocalEnded,           PeerData)  => Stay,
            (LocalEnded,           PeerFin)   => To(Closed),
            (LocalEnded,           PeerReset) => Gone,

            (RemoteEnded,          Finish)    => To(RemoteEndedFinishing),
            (RemoteEnded,          FinLeft)   => Ignore,
            (RemoteEnded,          PeerData)  => Violation,
            (RemoteEnded,          PeerFin)   => Ignore,
            (RemoteEnded,          PeerReset) => Gone,

            (RemoteEndedFinishing, Finish)    => Stay,
            (RemoteEndedFinishing, FinLeft)   => To(Closed),
            (RemoteEndedFinishing, PeerData)  => Violation,
            (RemoteEndedFinishing, PeerFin)   => Ignore,
            (RemoteEndedFinishing, PeerReset) => Gone,

            // On the wire the stream is over; what still comes for it is late, and the bytes that
            // came in time are still the reader's.
            (Closed,               Finish)    => Stay,
            (Closed,               FinLeft)   => Ignore,
            (Closed,               PeerData)  => Ignore,
            (Closed,               PeerFin)   => Ignore,
            (Closed,               PeerReset) => Ignore,
        };
        step
    }

    /// The caller may still queue payload.
    pub(crate) const fn takes_payload(self) -> bool {
        matches!(self, Self::Open | Self::RemoteEnded)
    }

    /// Our FIN is due after what is queued.
    pub(crate) const fn owes_fin(self) -> bool {
        matches!(self, Self::Finishing | Self::RemoteEndedFinishing)
    }

    /// The peer may still send, so credit is worth giving.
    pub(crate) const fn expects_data(self) -> bool {
        matches!(self, Self::Open | Self::Finishing | Self::LocalEnded)
    }
}

/// How far the opening has come: two steps on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Ours; the SYN rides on the first frame.
    SynDue,
    /// Ours; the peer has not acknowledged it.
    SynSent,
    /// The peer's; the caller has not touched it.
    Untouched,
    /// The peer's; the ACK rides on the next frame.
    AckDue,
    /// Acknowledged.
    Done,
}

/// A stream in its slot. The queue keeps its memory when the slot is used again.
#[derive(Debug)]
pub(crate) struct Stream<P> {
    pub(crate) id: StreamId,
    pub(crate) state: State,
    pub(crate) opening: Opening,
    /// Whether we opened it.
    pub(crate) ours: bool,
    /// Counted in the session's `ready`: a frame could be handed out.
    pub(crate) ready: bool,
    /// The caller was told of less room than one frame takes, and wants to hear of more. A cell,
    /// because asking for the room is no change in the caller's eyes.
    pub(crate) waiting: Cell<bool>,
    pub(crate) receive: ReceiveWindow,
    pub(crate) send: SendWindow,
    pub(crate) queue: VecDeque<P>,
    /// Payload bytes in `queue`.
    pub(crate) queued: usize,
    /// When the caller first touched a stream of the peer.
    pub(crate) touched_at: Duration,
}

/// A queue that grew longer than this gives its memory back when its stream ends.
const QUEUE_KEPT: usize = 1;

impl<P: Payload> Stream<P> {
    pub(crate) const fn new(id: StreamId, ours: bool) -> Self {
        Self {
            id,
            state: State::Open,
            opening: if ours {
                Opening::SynDue
            } else {
                Opening::Untouched
            },
            ours,
            ready: false,
            waiting: Cell::new(false),
            receive: ReceiveWindow::new(),
            send: SendWindow::new(),
            queue: VecDeque::new(),
            queued: 0,
            touched_at: Duration::ZERO,
        }
    }

    /// The stream is gone: what it queued is dropped, its slot waits for the next one.
    pub(crate) fn retire(&mut self) {
        self.queue.clear();
        self.rest();
    }

    /// Queues a payload, in the memory of the last one if it fits. Most queues hold one at a time and no more.
    pub(crate) fn push(&mut self, payload: P) {
        if let Some(last) = self.queue.back_mut()
            && last.absorb(&payload)
        {
            return;
        }
        if self.queue.capacity() == 0 {
            self.queue.reserve_exact(QUEUE_KEPT);
        }
        self.queue.push_back(payload);
    }

    /// Gives back what an empty queue need not keep: all of it while the stream goes on, for it may be quiet for hours;
    /// what is kept with the end is the next stream's.
    pub(crate) fn rest(&mut self) {
        let kept = if self.state == State::Open {
            0
        } else {
            QUEUE_KEPT
        };
        if self.queue.is_empty() && self.queue.capacity() > kept {
            self.queue = VecDeque::new();
        }
    }

    /// Makes a slot's retired stream a new one.
    pub(crate) fn renew(&mut self, id: StreamId, ours: bool) {
        let queue = core::mem::take(&mut self.queue);
        debug_assert!(queue.is_empty(), "the old stream was retired");
        *self = Self::new(id, ours);
        self.queue = queue;
    }

    /// A frame could be handed out: payload, or a FIN of its own.
    pub(crate) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.state.owes_fin()
    }

    /// Payload bytes of the next frame; `None` when there is no frame.
    pub(crate) fn next_length(&self) -> Option<u32> {
        match self.queue.front() {
            Some(payload) => Some(length(payload.len())),
            None if self.state.owes_fin() => Some(0),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] = [
        State::Open,
        State::Finishing,
        State::LocalEnded,
        State::RemoteEnded,
        State::RemoteEndedFinishing,
        State::Closed,
    ];
    const HAPPENINGS: [Happening; 5] = [
        Happening::Finish,
        Happening::FinLeft,
        Happening::PeerData,
        Happening::PeerFin,
        Happening::PeerReset,
    ];

    /// What a stream is by the words of the spec: two directions that end once each.
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Model {
        fin_asked: bool,
        fin_left: bool,
        peer_fin: bool,
    }

    fn model(state: State) -> Model {
        let (fin_asked, fin_left, peer_fin) = match state {
            State::Open => (false, false, false),
            State::Finishing => (true, false, false),
            State::LocalEnded => (true, true, false),
            State::RemoteEnded => (false, false, true),
            State::RemoteEndedFinishing => (true, false, true),
            State::Closed => (true, true, true),
        };
        Model {
            fin_asked,
            fin_left,
            peer_fin,
        }
    }

    #[test]
    fn m09_every_cell_of_the_table_agrees_with_two_directions_that_end_once() {
        for state in STATES {
            for happening in HAPPENINGS {
                let before = model(state);
                let mut after = before;
                let over = before.fin_left && before.peer_fin;
                let expected = match happening {
                    Happening::Finish => {
                        after.fin_asked = true;
                        Step::Stay
                    }
                    Happening::FinLeft if before.fin_asked && !before.fin_left => {
                        after.fin_left = true;
                        Step::Stay
                    }
                    Happening::FinLeft => Step::Ignore,
                    Happening::PeerData if over => Step::Ignore,
                    Happening::PeerData if before.peer_fin => Step::Violation,
                    Happening::PeerData => Step::Stay,
                    Happening::PeerFin if before.peer_fin => Step::Ignore,
                    Happening::PeerFin => {
                        after.peer_fin = true;
                        Step::Stay
                    }
                    Happening::PeerReset if over => Step::Ignore,
                    Happening::PeerReset => Step::Gone,
                };
                match state.on(happening) {
                    Step::To(next) => {
                        assert_eq!(model(next), after, "{state:?} on {happening:?}");
                        assert_ne!(before, after, "{state:?} on {happening:?}");
                    }
                    other @ (Step::Stay | Step::Ignore | Step::Violation | Step::Gone) => {
                        assert_eq!(other, expected, "{state:?} on {happening:?}");
                        assert_eq!(before, after, "{state:?} on {happening:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_questions_agree_with_the_directions() {
        for state in STATES {
            let model = model(state);
            assert_eq!(state.takes_payload(), !model.fin_asked, "{state:?}");
            assert_eq!(
                state.owes_fin(),
                model.fin_asked && !model.fin_left,
                "{state:?}"
            );
            assert_eq!(state.expects_data(), !model.peer_fin, "{state:?}");
        }
    }
}
