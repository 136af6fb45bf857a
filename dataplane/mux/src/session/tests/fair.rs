//! M-13: what one stream that sends in bulk costs its neighbours, on a simulated line.
//!
//! 100 Mbit/s, 5 ms each way, and a socket that takes 16 KiB ahead of the line, as
//! `TCP_NOTSENT_LOWAT` makes it. One tick is 100 microseconds.

use alloc::collections::VecDeque;

use super::*;
use crate::limits::MAX_FRAME_PAYLOAD;

const TICK: Duration = Duration::from_micros(100);
const LINE_BYTES_PER_TICK: usize = 1250;
const DELAY_TICKS: usize = 50;
const SOCKET_BYTES: usize = 16_384;
const VICTIMS: u32 = 64;

/// One direction of the line.
#[derive(Default)]
struct Line {
    socket: VecDeque<u8>,
    /// What left the socket, tick by tick.
    flying: VecDeque<Bytes>,
}

impl Line {
    fn carry(
        &mut self,
        from: &mut Session<Bytes>,
        to: &mut Session<Bytes>,
        now: Duration,
    ) -> Vec<Event> {
        while self.socket.len() < SOCKET_BYTES
            && let Some(frame) = from.next_frame(now)
        {
            self.socket.extend(frame.header);
            self.socket.extend(frame.payload.unwrap_or_default());
        }
        let bytes = self.socket.len().min(LINE_BYTES_PER_TICK);
        self.flying.push_back(self.socket.drain(..bytes).collect());
        let mut events = Vec::new();
        if self.flying.len() > DELAY_TICKS {
            let input = self.flying.pop_front().unwrap();
            let mut at = 0;
            loop {
                let (taken, event) = to.receive(&input[at..], now).unwrap();
                at += taken;
                let Some(event) = event else { break };
                if let Event::Data { stream, range } = &event {
                    to.consumed(*stream, range.len(), now);
                }
                events.push(event);
            }
        }
        events
    }
}

/// Each victim sends 1 KiB and waits for 1 KiB, over and over. Gives the 99th percentile of its
/// rounds, in ticks, beside `bulk` streams that send all they may towards the victims.
fn victims_p99(bulk: u32) -> usize {
    let (mut near, mut far) = (client(), server());
    let (mut up, mut down) = (Line::default(), Line::default());
    let victims: Vec<_> = (0..VICTIMS).map(|_| near.open(NOW).unwrap()).collect();
    let greedy: Vec<_> = (0..bulk).map(|_| far.open(NOW).unwrap()).collect();
    // Bytes of the round in progress at each end, and when it began.
    let mut heard_near = alloc::vec![0usize; victims.len()];
    let mut heard_far = alloc::vec![0usize; victims.len()];
    let mut began = alloc::vec![0usize; victims.len()];
    let mut rounds = Vec::new();
    for victim in &victims {
        near.send(*victim, zeros(1024), false).unwrap();
    }
    let place = |stream: StreamId| victims.iter().position(|victim| *victim == stream);
    for tick in 0..20_000usize {
        let now = NOW + TICK * u32::try_from(tick).unwrap();
        for stream in &greedy {
            while far.sendable(*stream) >= MAX_FRAME_PAYLOAD {
                far.send(*stream, zeros(16_372), false).unwrap();
            }
        }
        for event in up.carry(&mut near, &mut far, now) {
            if let Event::Data { stream, range } = event
                && let Some(victim) = place(stream)
            {
                heard_far[victim] += range.len();
                if heard_far[victim] == 1024 {
                    heard_far[victim] = 0;
                    far.send(stream, zeros(1024), false).unwrap();
                }
            }
        }
        for event in down.carry(&mut far, &mut near, now) {
            if let Event::Data { stream, range } = event
                && let Some(victim) = place(stream)
            {
                heard_near[victim] += range.len();
                if heard_near[victim] == 1024 {
                    heard_near[victim] = 0;
                    // The first second warms up.
                    if tick > 10_000 {
                        rounds.push(tick - began[victim]);
                    }
                    began[victim] = tick;
                    near.send(stream, zeros(1024), false).unwrap();
                }
            }
        }
    }
    rounds.sort_unstable();
    assert!(rounds.len() > 1000, "{} rounds", rounds.len());
    rounds[rounds.len() * 99 / 100]
}

#[test]
fn m13_bulk_at_line_rate_at_most_doubles_the_p99_of_its_neighbours() {
    let idle = victims_p99(0);
    assert!(idle >= 2 * DELAY_TICKS, "a round is at least a round trip");
    for bulk in [1, 8] {
        let busy = victims_p99(bulk);
        assert!(
            busy <= 2 * idle,
            "{bulk} bulk streams: {busy} ticks, idle {idle}"
        );
    }
}
