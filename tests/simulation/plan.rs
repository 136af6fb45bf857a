//! What one seed means: the road, the two ends, and what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use adit_mux::{Budget, INITIAL_CREDIT, Settings};
use adit_tls::Limits;

use crate::dice::Dice;
use crate::link::LinkPlan;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// By sender.
    pub(crate) links: [LinkPlan; 2],
    pub(crate) ends: [EndPlan; 2],
    /// Streams may be reset by their users.
    pub(crate) rude: bool,
    /// Which end goes away, and how long after the tunnel is up.
    pub(crate) away: Option<(usize, Duration)>,
    /// How long the tunnel stays up with nothing to do before the agent closes it.
    pub(crate) linger: Duration,
}

/// What goes wrong, beyond delays and stalls.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Nothing,
    /// The connection breaks, and both ends are told.
    Cut {
        at: Duration,
    },
    /// So long after the tunnel is up, directions go dark and nobody is told.
    Silence {
        after: Duration,
        dark: [bool; 2],
    },
    /// One bit arrives flipped; see [`LinkPlan::damaged_byte`].
    Damage,
}

#[derive(Debug)]
pub(crate) struct EndPlan {
    pub(crate) mux: Settings,
    pub(crate) tls: Limits,
    pub(crate) streams: usize,
    /// Most bytes one direction of a stream carries.
    pub(crate) bytes_max: usize,
}

impl Plan {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let fault = fault(dice);
        let mut links = [link(dice), link(dice)];
        stall(&mut links, dice);
        if matches!(fault, Fault::Damage) {
            // From within the handshake to somewhere in the traffic.
            links[dice.below(2)].damaged_byte = Some(dice.below(200_000));
        }
        let away = dice.chance(20);
        // Few streams that carry much, or many that carry little.
        let big = dice.chance(15);
        Self {
            fault,
            links,
            ends: [end(big, dice), end(big, dice)],
            rude: dice.chance(30),
            away: away.then(|| (dice.below(2), ms(dice.below(1500)))),
            linger: ms(dice.pick(&[0, 0, 0, 60_000])),
        }
    }

    /// Whether every stream must be carried to its end.
    pub(crate) fn is_calm(&self) -> bool {
        matches!(self.fault, Fault::Nothing) && !self.rude && self.away.is_none()
    }
}

pub(crate) fn ms(milliseconds: usize) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap())
}

fn fault(dice: &mut Dice) -> Fault {
    match dice.below(10) {
        0 | 1 => Fault::Cut {
            at: ms(dice.below(3000)),
        },
        2 | 3 => Fault::Silence {
            after: ms(dice.below(20_000)),
            dark: dice.pick(&[[true, true], [true, false], [false, true]]),
        },
        4 => Fault::Damage,
        _ => Fault::Nothing,
    }
}

fn link(dice: &mut Dice) -> LinkPlan {
    let latency = ms(dice.pick(&[0, 0, 1, 10, 50, 150, 300]));
    let bytes_per_second = dice.pick(&[200_000, 1_000_000, 12_500_000, 1_250_000_000]);
    // What waits in the socket must drain within a quarter of a second: keepalive stands behind it.
    let buffer = dice.pick(&[2 << 10, 16 << 10, 64 << 10, 256 << 10]);
    LinkPlan {
        latency,
        jitter: latency / 4,
        bytes_per_second,
        buffer: buffer.min(bytes_per_second / 4),
        stalls: Vec::new(),
        damaged_byte: None,
    }
}

/// Now and then nothing arrives in one direction for a while. Far enough apart, and shorter than a keepalive's patience
/// (dead at 9 s, ping at 4 s, up to 1.5 s of road and sockets), so that no stall may cost a tunnel.
fn stall(links: &mut [LinkPlan; 2], dice: &mut Dice) {
    let mut at = dice.below(3000);
    while dice.chance(40) && at < 80_000 {
        let length = dice.between(50, 3200);
        links[dice.below(2)].stalls.push((ms(at), ms(at + length)));
        at += length + dice.between(10_000, 20_000);
    }
}

fn end(big: bool, dice: &mut Dice) -> EndPlan {
    let unacked = dice.pick(&[2, 16, 256]);
    let mux = Settings {
        opens_unacked_max: unacked,
        window_max: dice.pick(&[INITIAL_CREDIT, 2 * INITIAL_CREDIT, 16 << 20]),
        session_window_bytes: dice.pick(&[0, 300_000, 32 << 20]),
        budget: Arc::new(Budget::new(dice.pick(&[0, 1 << 20, 256 << 20]))),
        send_queue_bytes: dice.pick(&[16_372, 64 << 10]),
        session_queue_bytes: dice.pick(&[32 << 10, 64 << 20]),
        ack_delay: ms(dice.pick(&[0, 250])),
        ..Settings::default()
    };
    mux.check().unwrap();
    let every = dice.pick(&[2, 3, 7, 50, 1 << 22]);
    let ask_every = dice.pick(&[5, 20, 1 << 23]);
    EndPlan {
        mux,
        // An end that asks every five records of a long one-way transfer gets nothing but key updates in return, more in
        // a row than a peer of the default limits would believe.
        tls: Limits::default()
            .with_key_update_records(every)
            .with_ask_update_records(ask_every)
            .with_fruitless_max(1 << 20),
        streams: if big {
            dice.below(3)
        } else {
            dice.pick(&[0, 1, 5, 20, 60])
        },
        bytes_max: if big {
            1_500_000
        } else {
            dice.pick(&[100, 2000, 30_000])
        },
    }
}
