//! Memory while the far end of a stream takes nothing, or all it can get (M-11 to M-13): it stays within what the
//! limits allow, neighbours are served, and what was lent comes back.
//!
//! Budgets are summed up here from the documented limits. How long anything takes is a benchmark's affair.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_tests::payload::Noise;
use adit_tests::process::Process;
use adit_tests::wait::SOON;
use adit_tests::world::{Config, Node};
use adit_tests::{
    Backend, Connection, Driver, Rules, Scratch, World, net, on_both_drivers, socks, until,
    until_some,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

// ARCHITECTURE.md, "Limits", under these names.
const FIRST_WINDOW: u64 = 256 * KIB;
const LARGEST_WINDOW: u64 = 16 * MIB;
const RECEIVED_IN_A_TUNNEL: u64 = 64 * MIB;
const QUEUED_IN_A_TUNNEL: u64 = 64 * MIB;
const QUEUED_BY_A_STREAM: u64 = 256 * KIB;
const SEALED_IN_A_TUNNEL: u64 = 256 * KIB;
const FREE_BUFFERS_OF_A_THREAD: u64 = 4096 * 2 * KIB + 1024 * RECORD + 32 * BLOCK;
// The same, "The way of a byte": blocks of a shard that waiting payload may keep from being used again.
const PINNED_BLOCKS: u64 = 32 * BLOCK;
// The classes of buffers there.
const RECORD: u64 = 16 * KIB;
const BLOCK: u64 = 256 * KIB;
// Tasks and tables of one open request in one program: both together need 9 KiB (docs/performance.md).
const OPEN_REQUEST: u64 = 9 * KIB;
// Code that had not run before, the allocator's own, pages half used.
const SLACK: u64 = 8 * MIB;

/// A world whose streams share one tunnel, and what its programs held when it had done a little of everything.
struct Stage {
    world: World,
    at_rest: [u64; 2],
}

const PROGRAMS: [&str; 2] = ["gateway", "agent"];

impl Stage {
    fn new(driver: Driver, rules: Rules, settings: impl FnOnce(&mut Config)) -> Self {
        let world = World::builder()
            .driver(driver)
            .shards(1)
            .alone()
            .rules(rules)
            .gateway(settings)
            .agent(|config| {
                config.text("backend.connect_timeout", "60s");
            })
            .start();
        Self {
            world,
            at_rest: [0; 2],
        }
    }

    fn nodes(&mut self) -> [&mut Node; 2] {
        [&mut self.world.gateway, &mut self.world.agents[0]]
    }

    /// From here on growth counts: what came before was warming up.
    fn measure(&mut self) {
        self.at_rest = self.nodes().map(|node| {
            node.process().forget_most_resident();
            node.process().resident_bytes()
        });
    }

    /// By how much each program has grown at most since [`Self::measure`].
    fn most(&mut self) -> [u64; 2] {
        let now = self
            .nodes()
            .map(|node| node.process().most_resident_bytes());
        [0, 1].map(|at| now[at].saturating_sub(self.at_rest[at]))
    }

    /// No program has grown by more than its budget; gives back by how much they have.
    fn within(&mut self, budget: [u64; 2]) -> [u64; 2] {
        let most = self.most();
        for ((program, most), budget) in PROGRAMS.iter().zip(most).zip(budget) {
            assert!(
                most <= budget,
                "the {program} has grown by {} MiB of {}",
                most / MIB,
                budget / MIB
            );
        }
        most
    }

    /// Waits until a program, by its place in [`PROGRAMS`], has grown by more than `least`.
    fn is_flooded(&mut self, program: usize, least: u64) {
        let name = PROGRAMS[program];
        until(&format!("the {name} is flooded"), PATIENCE, || {
            self.most()[program] > least
        });
    }

    /// Waits until nothing but `kept` conversations is open.
    fn ends(&self, kept: u32) {
        let (gateway, agent) = (self.world.gateway.admin(), self.world.agents[0].admin());
        let most = f64::from(kept) + 0.5;
        until("no other stream is left", SOON, || {
            gateway.metric("gateway_connections", &[]) < most
                && agent.metric("agent_streams", &[]) < most
        });
    }

    /// Waits until both programs are back at the beginning, but for free buffers of `kept` bytes; gives back what is
    /// left.
    fn gives_back(&mut self, kept: u64) -> [u64; 2] {
        let at_rest = self.at_rest;
        until_some("memory is back", SOON, || {
            let now = self.nodes().map(|node| node.process().resident_bytes());
            let left = [0, 1].map(|at| now[at].saturating_sub(at_rest[at]));
            (left.iter().all(|left| *left <= kept + SLACK)).then_some(left)
        })
    }

    /// Whoever reads what it asked for gets it.
    fn serves(&self) {
        let response = self.world.get("http://web.virtual/10");
        assert_eq!(response.body, &PATTERN[..10], "{}", response.line);
    }

    fn streams(&self) -> f64 {
        self.world.agents[0].admin().metric("agent_streams", &[])
    }
}

/// A backend that answers each request with as much of [`PATTERN`] as its path says, `/<bytes>`, and counts what it got
/// rid of.
struct Spring {
    backend: Backend,
    sent: Arc<AtomicU64>,
    gate: Arc<AtomicBool>,
}

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| Noise::new(3).bytes(64 * 1024));

impl Spring {
    /// With what the kernel likes to hold of what it sends, which is megabytes.
    fn new() -> Self {
        Self::start(None)
    }

    /// With so little held by the kernel that a thousand of them do no harm to the machine.
    fn narrow() -> Self {
        Self::start(Some(32 * 1024))
    }

    fn start(kernel_bytes: Option<usize>) -> Self {
        let (sent, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let (count, open) = (Arc::clone(&sent), Arc::clone(&gate));
        let backend = Backend::start(move |visit| {
            visit.stream().set_write_timeout(Some(PATIENCE))?;
            if let Some(bytes) = kernel_bytes {
                rustix::net::sockopt::set_socket_send_buffer_size(visit.stream(), bytes)?;
            }
            while let Some(request) = visit.request()? {
                let path = request.target().trim_start_matches('/');
                let length: u64 = path.parse().map_err(std::io::Error::other)?;
                visit.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
                ))?;
                let started = Instant::now();
                while !open.load(Ordering::SeqCst) && started.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let mut left = length;
                while left > 0 {
                    let piece =
                        usize::try_from(left).map_or(PATTERN.len(), |left| left.min(PATTERN.len()));
                    visit.send(&PATTERN[..piece])?;
                    let piece = u64::try_from(piece).map_err(std::io::Error::other)?;
                    left -= piece;
                    count.fetch_add(piece, Ordering::SeqCst);
                }
            }
            Ok(())
        });
        Self {
            backend,
            sent,
            gate,
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Whether bodies follow their heads now, or wait.
    fn open(&self, open: bool) {
        self.gate.store(open, Ordering::SeqCst);
    }

    /// Waits until it got rid of `least` and gets rid of nothing more.
    fn stands_still(&self, least: u64) -> u64 {
        let mut last = (self.sent(), Instant::now());
        until("the backend is kept waiting", PATIENCE, || {
            let now = self.sent();
            if now != last.0 {
                last = (now, Instant::now());
            }
            now >= least && last.1.elapsed() > Duration::from_millis(700)
        });
        last.0
    }
}

/// An application that reads an answer of a [`Spring`] as far as it likes.
struct Reader {
    connection: Connection,
    at: u64,
}

impl Reader {
    fn ask(world: &World, bytes: u64) -> Self {
        let mut connection = world.connect();
        let url = format!("http://web.virtual/{bytes}");
        connection.send(world.request("GET", &url, "")).unwrap();
        assert_eq!(connection.head().unwrap().status, 200);
        Self { connection, at: 0 }
    }

    /// Reads so much more, which must be what was sent.
    fn take(&mut self, bytes: u64) {
        let end = self.at + bytes;
        while self.at < end {
            let whole = u64::try_from(PATTERN.len()).unwrap();
            let piece = whole.min(end - self.at);
            let got = self
                .connection
                .exactly(usize::try_from(piece).unwrap())
                .unwrap();
            assert!(got == PATTERN[..got.len()], "other bytes at {}", self.at);
            self.at += piece;
        }
    }
}

/// Conversations with a backend that says everything again.
struct Neighbours {
    streams: Vec<TcpStream>,
    ping: Vec<u8>,
}

impl Neighbours {
    fn gather(world: &World, count: usize) -> Self {
        let converse = |_| socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
        Self {
            streams: (0..count).map(converse).collect(),
            ping: Noise::new(1).bytes(1024),
        }
    }

    /// Each sends so many pings, one after the other, and gets all of them back.
    fn are_served(&mut self, rounds: usize) {
        let mut pong = vec![0; self.ping.len()];
        for _ in 0..rounds {
            for stream in &mut self.streams {
                stream.write_all(&self.ping).unwrap();
            }
            for stream in &mut self.streams {
                stream.read_exact(&mut pong).unwrap();
                assert_eq!(pong, self.ping);
            }
        }
    }
}

/// A bulk download after the other, as fast as they come.
struct Bulk {
    moved: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Bulk {
    fn start(world: &World) -> Self {
        let mut reader = Reader::ask(world, 1024 * GIB);
        let (moved, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, stop) = (Arc::clone(&moved), Arc::clone(&over));
        let reading = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                reader.take(MIB);
                count.fetch_add(MIB, Ordering::SeqCst);
            }
        });
        Self {
            moved,
            over,
            reading: Some(reading),
        }
    }

    fn moved(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }

    fn stop(mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.reading.take().unwrap().join().unwrap();
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Applications in a process of their own that ask for an answer each, read its head, and then nothing any more.
struct Crowd {
    process: Process,
    _scratch: Scratch,
}

impl Crowd {
    fn ask(world: &World, count: usize) -> Self {
        let scratch = Scratch::new();
        let script = scratch.write("crowd.py", CROWD);
        let url = format!("http://web.virtual/{}", 4 * MIB);
        let request = scratch.write("request", world.request("GET", &url, ""));
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg("-u")
            .arg(script)
            .arg(world.http().port().to_string())
            .arg(count.to_string())
            .arg(request);
        let log = scratch.path("crowd.log");
        let mut process = Process::start("the crowd", &mut command, &log);
        until("the crowd has its answers", PATIENCE, || {
            process.must_run();
            process.log().ends_with("all\n")
        });
        Self {
            process,
            _scratch: scratch,
        }
    }

    /// How many were answered with a line and a refusal that contain this.
    fn heard(&self, what: &str) -> usize {
        let log = self.process.log();
        log.lines().filter(|line| line.contains(what)).count()
    }
}

// Segments of 536 bytes and a receive buffer of 4 KiB: with the loopback's own, the kernel would take 2.5 MiB for each
// before anything waits at the gateway.
const CROWD: &str = r#"
import signal, socket, sys

request = open(sys.argv[3], "rb").read()
crowd = []
for _ in range(int(sys.argv[2])):
    one = socket.socket()
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(60)
    one.connect(("127.0.0.1", int(sys.argv[1])))
    one.sendall(request)
    crowd.append(one)
for one in crowd:
    head = b""
    while b"\r\n\r\n" not in head:
        some = one.recv(512)
        if not some:
            break
        head += some
    fields = head.decode("latin-1").split("\r\n")
    reasons = [field for field in fields if field.lower().startswith("adit-refusal")]
    print(fields[0], *reasons)
print("all")
signal.pause()
"#;

on_both_drivers! {
    fn m11_a_reader_that_stops_holds_one_window_and_its_backend_and_no_neighbour(driver: Driver) {
        const READ: u64 = 64 * MIB;
        let (spring, echo) = (Spring::new(), Backend::echo());
        let mut stage = Stage::new(driver, rules(&spring, &echo), |_| {});
        let mut neighbours = Neighbours::gather(&stage.world, 64);
        neighbours.are_served(10);
        Reader::ask(&stage.world, GIB).take(READ);
        stage.ends(64);
        stage.measure();
        // And the kernel's, for which the programs do not pay: the backend's and the agent's of one connection, the
        // gateway's and the reader's of the other.
        let kernels = 2 * (most_of("tcp_wmem") + most_of("tcp_rmem"));
        let way = LARGEST_WINDOW + QUEUED_BY_A_STREAM + SEALED_IN_A_TUNNEL + kernels;
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let before = spring.sent();
            let mut reader = Reader::ask(&stage.world, GIB);
            // Fast for a while, so that the window may have grown.
            reader.take(READ);
            let stalled_at = spring.stands_still(before + READ);
            let waiting = stalled_at - before - READ;
            assert!(waiting <= way, "{} MiB have left a backend that nobody reads from", waiting / MIB);
            neighbours.are_served(50);
            assert_eq!(spring.sent(), stalled_at, "the backend waits for its one reader");
            rounds.push(stage.within(one_reader()));
            // It was only slow: what comes next is still there for it.
            reader.take(READ);
            drop(reader);
            stage.ends(64);
        }
        no_leak(&rounds, [SLACK; 2]);
        drop(neighbours);
        stage.ends(0);
        stage.gives_back(FREE_BUFFERS_OF_A_THREAD);
        stage.serves();
    }

    fn m12_a_thousand_applications_that_stop_reading_cost_their_own_streams_and_not_the_gateway(driver: Driver) {
        const ASKED: usize = 1000;
        const STREAMS_MAX: usize = 900;
        let (spring, echo) = (Spring::narrow(), Backend::echo());
        let mut stage = Stage::new(driver, rules(&spring, &echo), |config| {
            config.set("tunnel.streams_max", STREAMS_MAX.to_string());
        });
        let mut neighbour = Neighbours::gather(&stage.world, 1);
        neighbour.are_served(10);
        Reader::ask(&stage.world, 16 * MIB).take(16 * MIB);
        stage.ends(1);
        stage.measure();
        let streams = u64::try_from(STREAMS_MAX).unwrap();
        let budget = many_readers(streams);
        assert!(streams * FIRST_WINDOW > budget[0], "the windows alone are beyond the budget");
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let before = spring.sent();
            spring.open(false);
            let mut crowd = Crowd::ask(&stage.world, ASKED);
            // One stream is the neighbour's.
            assert_eq!(crowd.heard("HTTP/1.1 200 "), STREAMS_MAX - 1);
            let full = "HTTP/1.1 503 Service Unavailable adit-refusal: streams-exhausted";
            assert_eq!(crowd.heard(full), ASKED - (STREAMS_MAX - 1));
            let refused = stage.world.get("http://web.virtual/10");
            assert_eq!((refused.status, refused.refusal()), (503, "streams-exhausted"));
            neighbour.are_served(10);

            spring.open(true);
            stage.is_flooded(0, RECEIVED_IN_A_TUNNEL / 4 * 3);
            until("streams beyond what a tunnel may hold are cut", SOON, || {
                stage.streams() + 0.5 < u32::try_from(STREAMS_MAX).map_or(0.0, f64::from)
            });
            // No more of them than it takes: what is left fills the bound but for one window, each with at most one.
            let least = u32::try_from(RECEIVED_IN_A_TUNNEL / FIRST_WINDOW - 2).unwrap();
            assert!(stage.streams() > f64::from(least) + 0.5, "only {} streams are left", stage.streams());
            spring.stands_still(before + RECEIVED_IN_A_TUNNEL);
            neighbour.are_served(50);
            rounds.push(stage.within(budget));
            // Those that were cut made room, and whoever reads is served beside those that do not.
            stage.serves();
            crowd.process.kill();
            stage.ends(1);
        }
        // How full the slots of a queue are is up to what each read brought.
        no_leak(&rounds, [SLACK, QUEUED_IN_A_TUNNEL / 2]);
        neighbour.are_served(10);
        stage.serves();
    }

    fn m12_a_thousand_uploads_that_no_backend_takes_are_refused_and_not_the_end_of_the_agent(driver: Driver) {
        const ASKED: u32 = 1000;
        // With its head and the connect request it stays below a first window.
        const BODY: u32 = 240 * 1024;
        // More than three quarters of what a tunnel may hold, from where on new streams are refused, and less than all.
        const FILLING: u32 = 240;
        let (spring, echo, deaf) = (Spring::new(), Backend::echo(), Deaf::new());
        let rules = rules(&spring, &echo).http("deaf.virtual:80", format!("http://{}", deaf.address));
        let mut stage = Stage::new(driver, rules, |_| {});
        let mut neighbour = Neighbours::gather(&stage.world, 1);
        neighbour.are_served(10);
        Reader::ask(&stage.world, 16 * MIB).take(16 * MIB);
        stage.ends(1);
        stage.measure();
        let held = u64::from(FILLING * BODY);
        assert!(held > RECEIVED_IN_A_TUNNEL / 4 * 3 && held < RECEIVED_IN_A_TUNNEL);
        let [receives, sends] = many_readers(u64::from(FILLING));
        let budget = [sends, receives].map(|budget| budget + u64::from(ASKED) * OPEN_REQUEST);
        assert!(u64::from(ASKED) * u64::from(BODY) > budget[1], "the bodies alone are beyond the budget");
        let upload = {
            let length = format!("Content-Length: {BODY}\r\n");
            let head = stage.world.request("POST", "http://deaf.virtual/", &length);
            [head.into_bytes(), vec![b'x'; usize::try_from(BODY).unwrap()]].concat()
        };
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let send = |_| {
                let mut connection = stage.world.connect();
                // Whoever is refused may be cut in the middle of it.
                let _ = connection.send(&upload);
                connection
            };
            let filling: Vec<Connection> = (0..FILLING).map(send).collect();
            until("new streams are refused, to whatever backend", SOON, || {
                let refused = stage.world.get("http://web.virtual/10");
                (refused.status, refused.refusal()) == (503, "agent-overloaded")
            });
            for number in FILLING..ASKED {
                let refused = send(number).response().unwrap();
                assert_eq!((refused.status, refused.refusal()), (503, "agent-overloaded"), "upload {number}");
            }
            // The neighbour's is one of them.
            let held = stage.streams() - 1.0;
            let least = u32::try_from(RECEIVED_IN_A_TUNNEL / 4 * 3 / FIRST_WINDOW).unwrap();
            assert!(held > f64::from(least) - 0.5 && held < f64::from(FILLING) + 0.5, "{held} are held");
            neighbour.are_served(50);
            stage.is_flooded(1, RECEIVED_IN_A_TUNNEL / 4 * 3);
            rounds.push(stage.within(budget));
            drop(filling);
            stage.ends(1);
            stage.serves();
        }
        // What the gateway had in its queues at most is up to how fast the agent took it; what stays is not.
        no_leak(&rounds, [QUEUED_IN_A_TUNNEL / 2, SLACK]);
        neighbour.are_served(10);
        drop(neighbour);
        stage.ends(0);
        stage.gives_back(FREE_BUFFERS_OF_A_THREAD);
    }

    fn m13_beside_a_download_as_fast_as_it_gets_every_ping_of_64_neighbours_is_answered(driver: Driver) {
        const STEPS: usize = 10;
        const STEP: u64 = 16 * MIB;
        let (spring, echo) = (Spring::new(), Backend::echo());
        let mut stage = Stage::new(driver, rules(&spring, &echo), |_| {});
        let mut neighbours = Neighbours::gather(&stage.world, 64);
        neighbours.are_served(10);
        Reader::ask(&stage.world, GIB).take(64 * MIB);
        stage.ends(64);
        stage.measure();
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let bulk = Bulk::start(&stage.world);
            for step in 0..STEPS {
                let end = bulk.moved() + STEP;
                until(&format!("bulk goes on beside the pings, step {step}"), PATIENCE, || {
                    neighbours.are_served(10);
                    bulk.moved() >= end
                });
            }
            rounds.push(stage.within(one_reader()));
            bulk.stop();
            stage.ends(64);
        }
        no_leak(&rounds, [SLACK; 2]);
        drop(neighbours);
        stage.ends(0);
        stage.gives_back(FREE_BUFFERS_OF_A_THREAD);
    }

    fn m12_after_a_flood_a_program_holds_no_more_than_the_free_buffers_it_may_keep(driver: Driver) {
        const STREAMS: usize = 900;
        let (spring, echo) = (Spring::narrow(), Backend::echo());
        let mut stage = Stage::new(driver, rules(&spring, &echo), |_| {});
        let kept = FREE_BUFFERS_OF_A_THREAD;
        Reader::ask(&stage.world, 16 * MIB).take(16 * MIB);
        stage.ends(0);
        stage.measure();
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let before = spring.sent();
            spring.open(false);
            let mut crowd = Crowd::ask(&stage.world, STREAMS);
            assert_eq!(crowd.heard("HTTP/1.1 200 "), STREAMS);
            spring.open(true);
            stage.is_flooded(0, 2 * kept);
            spring.stands_still(before + RECEIVED_IN_A_TUNNEL);
            crowd.process.kill();
            stage.ends(0);
            rounds.push(stage.gives_back(kept));
        }
        no_leak(&rounds, [SLACK / 2; 2]);
        stage.serves();
    }
}

fn rules(spring: &Spring, echo: &Backend) -> Rules {
    Rules::none()
        .http("web.virtual:80", spring.backend.url())
        .tcp("echo.virtual:7", echo.address())
}

/// What one stream may cost the end that receives and the end that sends, with 64 quiet ones beside it.
fn one_reader() -> [u64; 2] {
    [
        // Copied out, or in blocks that would be used again otherwise.
        LARGEST_WINDOW + PINNED_BLOCKS + 64 * OPEN_REQUEST + SLACK,
        // A row that is queued, and one that was just read.
        2 * QUEUED_BY_A_STREAM + SEALED_IN_A_TUNNEL + 64 * OPEN_REQUEST + SLACK,
    ]
}

/// What `streams` of one tunnel, each as full as it gets, may cost the end that receives and the end that sends.
fn many_readers(streams: u64) -> [u64; 2] {
    let open = streams * OPEN_REQUEST;
    [
        // Copies fill records, but for a stream's first and last.
        RECEIVED_IN_A_TUNNEL + PINNED_BLOCKS + streams * 2 * RECORD + open + SLACK,
        // The bound counts payload: what was read at once fills its slots but for the last, so of a little more than a
        // record half is empty. Beyond the bound each stream may queue one frame. Records that a read did not fill are
        // free, and kept.
        2 * QUEUED_IN_A_TUNNEL
            + streams * RECORD
            + 1024 * RECORD
            + SEALED_IN_A_TUNNEL
            + open
            + SLACK,
    ]
}

/// A backend that takes no connections: its queue of one is full, so whoever dials waits.
struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _first: TcpStream,
}

impl Deaf {
    fn new() -> Self {
        let (listener, address) = net::listen();
        // Again on the same socket, and only the length of the queue changes (listen(2)).
        rustix::net::listen(&listener, 0).unwrap();
        Self {
            address,
            _first: net::connect(address).unwrap(),
            _listener: listener,
        }
    }
}

// What was lent for one flood serves the next: the second takes no more, up to `slack`.
fn no_leak(rounds: &[[u64; 2]], slack: [u64; 2]) {
    let [first, second] = rounds else {
        panic!("two rounds are compared");
    };
    for (at, program) in PROGRAMS.iter().enumerate() {
        assert!(
            second[at] <= first[at] + slack[at],
            "the {program} was {} MiB above the beginning with the first flood and {} with the second",
            first[at] / MIB,
            second[at] / MIB
        );
    }
}

// The largest of a TCP socket's buffers, in bytes: the third number (tcp(7)).
fn most_of(what: &str) -> u64 {
    let numbers = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{what}")).unwrap();
    let third = numbers.split_whitespace().nth(2).unwrap();
    third.parse().unwrap()
}

// How long a flood may take to stand still, and whoever serves it may wait.
const PATIENCE: Duration = Duration::from_secs(60);
