//! Two ends, two links, one clock: runs a seed to its end and says whether what happened was right.

use std::time::Duration;

use crate::alarms::{Alarm, Context};
use crate::dice::Dice;
use crate::end::{End, Fate};
use crate::link::{Delivery, Link};
use crate::plan::{Fault, Plan};
use crate::talk::{Over, Talk};
use crate::trace::{AGENT, GATEWAY, other};

/// What both sides of the tunnel have promised: a dead tunnel is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// On a road that is dark in one direction only, the end that still hears is told by the other one's farewell: one
/// road (375 ms), a socket that empties (250 ms), a stall (3.2 s).
const TOLD_WITHIN: Duration = Duration::from_secs(4);

/// No plan takes longer.
const OVER_BY: Duration = Duration::from_secs(3600);

/// No moment has more to do.
const STEPS_AT_ONCE: u32 = 1_000_000;

#[derive(Debug)]
pub(crate) struct World {
    fault: Fault,
    calm: bool,
    linger: Duration,
    away: Option<(usize, Duration)>,
    ends: [End; 2],
    /// By sender.
    links: [Link; 2],
    context: Context,
    /// When both ends were up.
    up_at: Option<Duration>,
    /// When both ends had nothing left to do.
    idle_at: Option<Duration>,
    /// When the fault came to pass.
    fault_at: Option<Duration>,
    closing: bool,
}

/// What a run amounts to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) bytes: usize,
    pub(crate) streams: usize,
    pub(crate) resets: usize,
    pub(crate) refused: usize,
    pub(crate) key_updates: usize,
    pub(crate) fates: [Option<Fate>; 2],
    pub(crate) lasted: Duration,
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    World::new(seed).run()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let calm = plan.is_calm();
        let [agent, gateway] = plan.ends;
        Self {
            fault: plan.fault,
            calm,
            linger: plan.linger,
            away: plan.away,
            ends: [
                End::new(AGENT, agent, plan.rude),
                End::new(GATEWAY, gateway, plan.rude),
            ],
            links: plan.links.map(Link::new),
            context: Context::new(dice),
            up_at: None,
            idle_at: None,
            fault_at: None,
            closing: false,
        }
    }

    fn run(mut self) -> Outcome {
        self.ends[AGENT].start(&mut self.context);
        self.settle();
        let mut steps = 0;
        while let Some(next) = self.next() {
            steps = if next > self.context.now {
                0
            } else {
                steps + 1
            };
            assert!(
                steps < STEPS_AT_ONCE,
                "time stands still: a deadline is obeyed and does not move"
            );
            self.context.now = self.context.now.max(next);
            assert!(
                self.context.now < OVER_BY,
                "stuck: {:#?}",
                self.unfinished()
            );
            self.step();
            self.settle();
            if self.ends.iter().all(|end| end.fate.is_some()) {
                break;
            }
        }
        self.judge()
    }

    /// When something happens next.
    fn next(&self) -> Option<Duration> {
        let links = self.links.iter().filter_map(Link::next);
        let deadlines = self.ends.iter().filter_map(End::next_deadline);
        let planned = [self.context.next(), self.fault_due(), self.close_due()];
        links
            .chain(deadlines)
            .chain(planned.into_iter().flatten())
            .min()
    }

    fn step(&mut self) {
        let now = self.context.now;
        if self.fault_due().is_some_and(|at| at <= now) {
            self.strike();
        }
        if self.close_due().is_some_and(|at| at <= now) {
            self.closing = true;
            self.ends[AGENT].close(&mut self.context);
        }
        for sender in [AGENT, GATEWAY] {
            let hearer = &mut self.ends[other(sender)];
            match self.links[sender].tick(now, &mut self.context.dice) {
                Some(Delivery::Bytes(bytes)) => hearer.hear(&bytes, &mut self.context),
                Some(Delivery::End) => hearer.hear_end(&mut self.context),
                None => {}
            }
            self.ends[sender].on_deadline(&mut self.context);
        }
        if let Some((side, alarm)) = self.context.ring() {
            self.ends[side].on_alarm(alarm, &mut self.context);
        }
    }

    fn settle(&mut self) {
        for side in [AGENT, GATEWAY] {
            self.ends[side].write(&mut self.links[side], &mut self.context);
            self.ends[side].check();
        }
        if self.up_at.is_none() && self.ends.iter().all(|end| end.was_up) {
            self.up_at = Some(self.context.now);
            if let Some((side, pause)) = self.away {
                self.context.alarm(side, pause, Alarm::GoAway);
            }
        }
        if self.idle_at.is_none() && self.ends.iter().all(End::is_idle) {
            self.idle_at = Some(self.context.now);
        }
        self.check_credit();
    }

    /// What an end may send never exceeds the window of the one that reads, counted from what was read.
    fn check_credit(&mut self) {
        for side in [AGENT, GATEWAY] {
            let spoke = std::mem::take(&mut self.ends[side].spoke);
            let (speaker, reader) = (&self.ends[side], &self.ends[other(side)]);
            for number in spoke {
                let promised = speaker.talks[&number].promised;
                let consumed = reader.talks.get(&number).map_or(0, |talk| talk.consumed);
                assert!(
                    promised <= consumed + reader.window_max(),
                    "stream {number}: credit for {promised} bytes, of which {consumed} were consumed"
                );
            }
        }
    }

    /// The streams that go on, by end.
    fn unfinished(&self) -> [Vec<&Talk>; 2] {
        [AGENT, GATEWAY].map(|side| {
            self.ends[side]
                .talks
                .values()
                .filter(|talk| !talk.is_ended())
                .collect()
        })
    }

    // ---- what goes wrong, and when it is over

    fn fault_due(&self) -> Option<Duration> {
        if self.fault_at.is_some() {
            return None;
        }
        match self.fault {
            Fault::Nothing | Fault::Damage => None,
            Fault::Cut { at } => Some(at),
            Fault::Silence { after, .. } => self.up_at.map(|up_at| up_at + after),
        }
    }

    fn strike(&mut self) {
        self.fault_at = Some(self.context.now);
        match self.fault {
            Fault::Nothing | Fault::Damage => {}
            Fault::Cut { .. } => {
                for side in [AGENT, GATEWAY] {
                    self.links[side].cut();
                    self.ends[side].lose(&mut self.context);
                }
            }
            Fault::Silence { dark, .. } => {
                for side in [AGENT, GATEWAY] {
                    if dark[side] {
                        self.links[side].darken();
                    }
                }
            }
        }
    }

    fn close_due(&self) -> Option<Duration> {
        if self.closing || matches!(self.fault, Fault::Silence { .. }) {
            return None;
        }
        self.idle_at.map(|idle_at| idle_at + self.linger)
    }

    // ---- the verdict

    fn judge(self) -> Outcome {
        for end in &self.ends {
            let budget = end.budget();
            assert_eq!(
                budget.left(),
                budget.total(),
                "a tunnel that is gone keeps credit"
            );
        }
        self.judge_fates();
        let whole = self
            .ends
            .iter()
            .all(|end| matches!(end.fate, Some((_, Fate::Closed))));
        let mut outcome = Outcome {
            trace: self.context.hash(),
            lasted: self.context.now,
            ..Outcome::default()
        };
        for side in [AGENT, GATEWAY] {
            outcome.fates[side] = self.ends[side].fate.as_ref().map(|(_, fate)| fate.clone());
            outcome.key_updates += self.ends[side].key_updates;
            for (number, talk) in &self.ends[side].talks {
                let peer = self.ends[other(side)].talks.get(number);
                self.judge_stream(*number, talk, peer, whole);
                outcome.bytes += talk.heard;
                outcome.streams += usize::from(talk.ours);
                outcome.resets += usize::from(talk.over == Some(Over::ResetByUs));
                outcome.refused += usize::from(talk.ours && peer.is_none());
            }
        }
        outcome
    }

    fn judge_fates(&self) {
        for side in [AGENT, GATEWAY] {
            let Some((at, fate)) = &self.ends[side].fate else {
                // Damage may leave a machine waiting for the rest of a record that never comes: in a handshake only,
                // where the driver's own time limit ends it.
                assert!(
                    matches!(self.fault, Fault::Damage) && self.up_at.is_none(),
                    "nothing happens any more, and the tunnel is neither closed nor lost: a wake-up was lost"
                );
                continue;
            };
            let right = match self.fault {
                Fault::Nothing => *fate == Fate::Closed,
                Fault::Cut { .. } => matches!(fate, Fate::Closed | Fate::Lost),
                Fault::Damage => {
                    !self.links[other(side)].has_done_damage() || *fate != Fate::Closed
                }
                Fault::Silence { dark, .. } => {
                    let struck = self.fault_at.expect("a tunnel that is up goes dark");
                    let hears = !dark[other(side)];
                    let within = NOTICED_WITHIN + if hears { TOLD_WITHIN } else { Duration::ZERO };
                    assert!(
                        *at <= struck + within,
                        "dark at {struck:?}, noticed at {at:?}"
                    );
                    hears || *fate == Fate::Silent
                }
            };
            assert!(right, "end {side}: {fate:?} after {:?}", self.fault);
        }
    }

    fn judge_stream(&self, number: u32, talk: &Talk, peer: Option<&Talk>, whole: bool) {
        let said = peer.map_or(0, |peer| peer.said);
        assert!(talk.heard <= said, "stream {number}: more heard than said");
        if talk.fin_heard {
            assert_eq!(talk.heard, said, "stream {number}: an end before the end");
        }
        let refused = talk.over == Some(Over::ResetByPeer) && !talk.acknowledged;
        if talk.ours && refused {
            assert!(
                peer.is_none_or(|peer| !peer.touched),
                "stream {number}: was used, and counts as never taken"
            );
        }
        if !talk.ours {
            assert!(peer.is_some(), "stream {number}: taken, never opened");
        }
        if whole {
            assert!(talk.is_ended(), "stream {number} is left over: {talk:?}");
            if talk.over.is_none() {
                assert_eq!(talk.said, talk.manner.to_say);
                assert_eq!(talk.heard, said);
            }
        }
        if self.calm {
            assert_eq!(talk.over, None, "stream {number} in a calm world");
        }
    }
}
