//! TLS and mux as one machine, both ends: what a byte costs between two sockets' buffers.
//!
//! No baseline: its halves have theirs.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use adit_mux::Settings;
use adit_proto::hello::{Hello, Welcome};
use adit_tunnel::{
    Batch, Event, Opening, PAYLOAD_MAX, Progress, SLOT_OVERHEAD, Slot, StreamId, Tunnel,
};
use rustls::pki_types::ServerName;

use crate::case::{Case, Work};
use crate::papers::Papers;
use crate::pipe::Pipe;

/// Slots in a batch: the largest row that a busy connection borrows.
const ROW: u32 = 16;
/// What `transport` writes at once.
const BATCH_BYTES: usize = 256 * 1024;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "tunnel/packed-1k",
            "1,024 bytes from slot to reader, sharing a record, with their share of credit",
            ROW,
            || start(1024),
        )
        .carrying(1024),
        Case::new(
            "tunnel/bulk-16k",
            "16,372 bytes from slot to reader, a record of their own, with their share of credit",
            ROW,
            || start(PAYLOAD_MAX),
        )
        .carrying(16_372),
    ]
}

struct Exchange {
    near: End,
    far: End,
    stream: StreamId,
    bytes: usize,
    row: Vec<Slot<Lent>>,
    up: Pipe,
    down: Pipe,
}

/// A tunnel with what its driver holds.
struct End {
    tunnel: Tunnel<Lent>,
    batch: Batch<Lent>,
    block: Vec<u8>,
    events: Vec<Event>,
    pool: Pool,
}

/// Memory of one record that goes back to its pool, as that of the programs does: what an allocator
/// costs is not part of this.
struct Lent {
    memory: Vec<u8>,
    pool: Pool,
}

type Pool = Rc<RefCell<Vec<Vec<u8>>>>;

impl Lent {
    fn of(pool: &Pool) -> Self {
        let free = pool.borrow_mut().pop();
        Self {
            memory: free.unwrap_or_else(|| vec![0x5a; PAYLOAD_MAX + SLOT_OVERHEAD]),
            pool: Rc::clone(pool),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.pool.borrow_mut().push(memory);
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

const NOW: Duration = Duration::ZERO;

fn start(bytes: usize) -> Box<dyn Work> {
    let (near, far) = open();
    let (mut near, far) = (End::new(near), End::new(far));
    let stream = near.tunnel.open(NOW).expect("the first stream");
    Box::new(Exchange {
        near,
        far,
        stream,
        bytes,
        row: Vec::new(),
        up: Pipe::default(),
        down: Pipe::default(),
    })
}

impl Work for Exchange {
    fn prepare(&mut self) {
        // A socket reads into slots; that is not part of it.
        self.row.clear();
        for _ in 0..ROW {
            let mut slot = Slot::new(Lent::of(&self.near.pool));
            slot.fill(self.bytes);
            self.row.push(slot);
        }
    }

    fn run(&mut self) {
        for slot in self.row.drain(..) {
            self.near
                .tunnel
                .send(self.stream, slot, false)
                .expect("credit came back");
        }
        let mut heard = 0;
        loop {
            self.near.write(&mut self.up);
            self.far.write(&mut self.down);
            if self.up.is_empty() && self.down.is_empty() {
                break;
            }
            heard += self.far.read(&mut self.up);
            self.near.read(&mut self.down);
        }
        debug_assert_eq!(heard, self.bytes * 16, "all came");
    }
}

impl End {
    fn new(tunnel: Tunnel<Lent>) -> Self {
        Self {
            tunnel,
            batch: Batch::new(),
            block: vec![0; 2 * BATCH_BYTES],
            events: Vec::new(),
            pool: Pool::default(),
        }
    }

    fn write(&mut self, pipe: &mut Pipe) {
        let mut supply = || Lent::of(&self.pool);
        while self.tunnel.wants_write() {
            self.tunnel
                .transmit(NOW, &mut self.batch, BATCH_BYTES, &mut supply)
                .expect("the key is fresh");
            let mut sent = 0;
            for piece in self.batch.pieces() {
                pipe.write(piece);
                sent += piece.len();
            }
            self.batch.advance(sent);
            while let Some(event) = self.tunnel.poll_event() {
                black_box(event);
            }
            if sent == 0 {
                return;
            }
        }
    }

    /// Reads all there is and consumes it; says how much payload it was.
    fn read(&mut self, pipe: &mut Pipe) -> usize {
        let length = pipe.read(&mut self.block);
        let block = self.block.get_mut(..length).expect("a block was read");
        let used = self.tunnel.receive(block, NOW, &mut self.events);
        assert_eq!(used.expect("an honest peer"), length, "whole records");
        let mut heard = 0;
        for event in self.events.drain(..) {
            if let Event::Data { stream, range } = event {
                let bytes = black_box(block.get(range).expect("a range of the block"));
                self.tunnel.consumed(stream, bytes.len(), NOW);
                heard += bytes.len();
            }
        }
        heard
    }
}

/// A tunnel in memory: handshake, hello, welcome.
fn open() -> (Tunnel<Lent>, Tunnel<Lent>) {
    let (client, server) = Papers::new().settings();
    let hello = Hello {
        version: 1,
        features: 0,
        location: "berlin".to_owned(),
        instance: [7; 16],
        software: "benches".to_owned(),
    };
    let welcome = Welcome {
        version: 1,
        features: 0,
        gateway: "eu-1".to_owned(),
        shard: 0,
        shards: 1,
    };
    let mux = Settings {
        // What `transport` sets.
        send_queue_bytes: 256 * 1024,
        ..Settings::default()
    };
    let name = ServerName::try_from("gateway.example").expect("a DNS name");
    let mut agent = Opening::agent(&client, name, hello).expect("rustls starts");
    let mut gateway = Opening::gateway(&server).expect("rustls starts");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    loop {
        agent
            .advance(&mut down, &mut up)
            .expect("honest ends agree");
        let progress = gateway
            .advance(&mut up, &mut down)
            .expect("honest ends agree");
        if progress == Progress::Heard {
            break;
        }
    }
    let gateway = gateway
        .admit(welcome, mux.clone(), &mut down)
        .expect("it has said hello");
    let progress = agent
        .advance(&mut down, &mut up)
        .expect("honest ends agree");
    assert_eq!(progress, Progress::Welcomed, "the agent is admitted");
    let agent = agent.finish(mux).expect("it is admitted");
    (agent.tunnel, gateway.tunnel)
}
