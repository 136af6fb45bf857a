//! Two of our multiplexers, driven as `transport` drives them: send, pick, write; read, consume.

use std::hint::black_box;
use std::time::Duration;

use adit_mux::{Event, Session, Settings, Side, StreamId};

use super::{FRAMES, STREAMS, WORDS, payload};
use crate::case::Work;
use crate::pipe::Pipe;

/// One multiplexer with what its driver holds.
struct End {
    mux: Session<&'static [u8]>,
    /// What was read from the pipe.
    block: Vec<u8>,
}

/// Both, and the time they are told.
struct Pair {
    near: End,
    far: End,
    up: Pipe,
    down: Pipe,
    now: Duration,
}

/// As large as what `transport` reads at once.
const BLOCK: usize = 256 * 1024;

impl Pair {
    fn new() -> Self {
        Self {
            near: End::new(Side::Client),
            far: End::new(Side::Server),
            up: Pipe::default(),
            down: Pipe::default(),
            now: Duration::ZERO,
        }
    }

    /// A pair with one stream that both ends know.
    fn with_stream() -> (Self, StreamId) {
        let mut pair = Self::new();
        let stream = pair.near.mux.open(pair.now).expect("the first stream");
        pair.near
            .mux
            .send(stream, payload(1), false)
            .expect("a window is open");
        pair.carry();
        (pair, stream)
    }

    /// Carries until both are quiet; whatever arrives is consumed.
    fn carry(&mut self) {
        loop {
            self.near.write(&mut self.up, self.now);
            self.far.write(&mut self.down, self.now);
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            self.far.read(&mut self.up, self.now, |_, _| {});
            self.near.read(&mut self.down, self.now, |_, _| {});
        }
    }
}

impl End {
    fn new(side: Side) -> Self {
        let settings = Settings {
            // What `transport` sets.
            send_queue_bytes: 256 * 1024,
            ..Settings::default()
        };
        Self {
            mux: Session::new(side, settings),
            block: vec![0; BLOCK],
        }
    }

    /// Writes all there is.
    fn write(&mut self, pipe: &mut Pipe, now: Duration) {
        while let Some(frame) = self.mux.next_frame(now) {
            pipe.write(&frame.header);
            if let Some(payload) = frame.payload {
                pipe.write(payload);
            }
        }
    }

    /// Reads all there is, consumes it, and tells `hear` the other events.
    fn read(
        &mut self,
        pipe: &mut Pipe,
        now: Duration,
        mut hear: impl FnMut(&mut Session<&'static [u8]>, Event),
    ) {
        loop {
            let length = pipe.read(&mut self.block);
            if length == 0 {
                return;
            }
            let input = self.block.get(..length).expect("a block was read");
            take(&mut self.mux, input, now, &mut hear);
        }
    }
}

/// Feeds `input` and consumes its payload at once.
fn take(
    mux: &mut Session<&'static [u8]>,
    mut input: &[u8],
    now: Duration,
    hear: &mut impl FnMut(&mut Session<&'static [u8]>, Event),
) {
    loop {
        let (taken, event) = mux.receive(input, now).expect("an honest peer");
        match event {
            Some(Event::Data { stream, range }) => {
                let bytes = black_box(input.get(range).expect("a range of the input"));
                mux.consumed(stream, bytes.len(), now);
            }
            Some(event) => hear(mux, event),
            None => return,
        }
        input = input.get(taken..).expect("no more is taken than given");
    }
}

struct Encode {
    pair: Pair,
    stream: StreamId,
    bytes: usize,
}

/// Queues frames and picks them. The peer's credit is fetched before.
pub(super) fn encode(bytes: usize) -> Box<dyn Work> {
    let (pair, stream) = Pair::with_stream();
    Box::new(Encode {
        pair,
        stream,
        bytes,
    })
}

impl Work for Encode {
    fn prepare(&mut self) {
        // The frames of the last batch went nowhere; the credit comes back all the same.
        let spent = u32::try_from(self.bytes).expect("a frame is short") * FRAMES;
        let mut update = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (_, numbers) = update.split_at_mut(4);
        let (stream, delta) = numbers.split_at_mut(4);
        stream.copy_from_slice(&self.stream.get().to_be_bytes());
        delta.copy_from_slice(&spent.to_be_bytes());
        if self.pair.near.mux.sendable(self.stream) < self.bytes * FRAMES_USIZE {
            take(
                &mut self.pair.near.mux,
                &update,
                self.pair.now,
                &mut |_, _| {},
            );
        }
    }

    fn run(&mut self) {
        let mux = &mut self.pair.near.mux;
        for _ in 0..FRAMES {
            mux.send(self.stream, payload(self.bytes), false)
                .expect("credit was fetched");
            black_box(mux.next_frame(self.pair.now)).expect("a frame is queued");
        }
    }
}

const FRAMES_USIZE: usize = 16;
const _: () = assert!(FRAMES == 16, "the same number twice");

struct Decode {
    pair: Pair,
    stream: StreamId,
    bytes: usize,
    wire: Vec<u8>,
}

/// Reads frames and consumes them. They are written before, and credit is carried back.
pub(super) fn decode(bytes: usize) -> Box<dyn Work> {
    let (pair, stream) = Pair::with_stream();
    Box::new(Decode {
        pair,
        stream,
        bytes,
        wire: Vec::new(),
    })
}

impl Work for Decode {
    fn prepare(&mut self) {
        self.pair.carry();
        self.wire.clear();
        let Pair { near, now, .. } = &mut self.pair;
        for _ in 0..FRAMES {
            near.mux
                .send(self.stream, payload(self.bytes), false)
                .expect("credit came back");
            let frame = near.mux.next_frame(*now).expect("a frame is queued");
            self.wire.extend_from_slice(&frame.header);
            self.wire
                .extend_from_slice(frame.payload.unwrap_or_default());
        }
    }

    fn run(&mut self) {
        let Pair { far, now, .. } = &mut self.pair;
        take(&mut far.mux, &self.wire, *now, &mut |_, _| {});
    }
}

struct Exchange {
    pair: Pair,
    stream: StreamId,
    bytes: usize,
}

/// Both ends: frames over the pipe, credit back.
pub(super) fn exchange(bytes: usize) -> Box<dyn Work> {
    let (pair, stream) = Pair::with_stream();
    Box::new(Exchange {
        pair,
        stream,
        bytes,
    })
}

impl Work for Exchange {
    fn run(&mut self) {
        for _ in 0..FRAMES {
            self.pair
                .near
                .mux
                .send(self.stream, payload(self.bytes), false)
                .expect("credit came back");
        }
        self.pair.carry();
    }
}

struct Streams {
    pair: Pair,
}

/// Both ends: streams from opening to end, one after the other.
pub(super) fn streams() -> Box<dyn Work> {
    Box::new(Streams { pair: Pair::new() })
}

impl Work for Streams {
    fn prepare(&mut self) {
        // Streams a second are bounded; these come at 1,600 a second.
        self.pair.now += Duration::from_millis(10);
    }

    fn run(&mut self) {
        let Pair {
            near,
            far,
            up,
            down,
            now,
        } = &mut self.pair;
        let now = *now;
        for _ in 0..STREAMS {
            let stream = near.mux.open(now).expect("the last one is gone");
            near.mux
                .send(stream, payload(WORDS), true)
                .expect("a window is open");
            near.write(up, now);
            far.read(up, now, |mux, event| {
                if let Event::Finished(id) = event {
                    mux.send(id, payload(WORDS), true)
                        .expect("a window is open");
                }
            });
            far.write(down, now);
            let mut ended = false;
            near.read(down, now, |_, event| {
                ended |= matches!(event, Event::Finished(_));
            });
            assert!(ended, "both ends have said all");
        }
        debug_assert_eq!(near.mux.streams(), 0, "no stream is left");
    }
}
