//! A day without a sink, in virtual time: segments that fill and go as a recorder's do, real links and real sockets.
//!
//! Whoever waits for a socket lets the clock go on, by a tick of the node at most: so ticks are short beside limits.

mod door;
mod node;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::folder::FolderSource;
use crate::limits::{CONNECT_LIMIT, DELIVER_LIMIT, RETRY_AFTER_MAX, TELL_AGAIN};
use crate::test_world::{logged, who};
use door::{Door, MOODS, Mood};
use node::{Node, PER_TICK, TICK, virtual_ms};

#[test]
fn r04_a_sink_that_is_down_for_a_day_is_tried_now_and_then_gets_what_is_left_and_is_told_of_the_rest_over_syslog()
 {
    alone("syslog", || a_day(true));
}

#[test]
fn r04_a_sink_that_is_down_for_a_day_is_tried_now_and_then_gets_what_is_left_and_is_told_of_the_rest_over_otlp()
 {
    alone("otlp", || a_day(false));
}

/// Runs `day` in a process of its own, whose memory is then that of nothing else: this test again, alone.
fn alone<F: Future<Output = ()>>(over: &str, day: impl FnOnce() -> F) {
    if std::env::var_os(ALONE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true);
        return runtime.build().unwrap().block_on(day());
    }
    let name = format!("forward::day::{NAME}{over}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "")
        .output()
        .unwrap();
    let told = [child.stdout, child.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(
        child.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

async fn a_day(is_syslog: bool) {
    virtual_ms();
    let log = logged();
    let mut node = Node::new();
    let mut door = Door::shut(is_syslog);
    // The first hundred it had before.
    for _ in 0..100 {
        node.record();
    }
    let mut had = FolderSource::new(node.dir.path(), door.sink.name(), node.head());
    let place = had.read(&Place::START).await.unwrap().end();
    had.keep(&place).await.unwrap();
    let (status, reads, stop, task) = start(&node, &door);

    let held_before = resident_bytes();
    let mut tries = 0;
    for (quarter, mood) in MOODS.into_iter().enumerate() {
        if let Some(mood) = mood {
            door.open(mood);
        }
        // A connection that is accepted is a try; where none is, each try begins with reading.
        let tried = || match mood {
            Some(_) => door.accepts.load(Ordering::Relaxed),
            None => reads.load(Ordering::Relaxed),
        };
        let before = tried();
        for hour in 1..=6 {
            node.go_on(HOUR, 1).await;
            let facts = status.facts();
            assert_eq!(
                (facts.delivered, facts.delivered_unix > 0),
                (100, door.has_read)
            );
            assert!(facts.trouble.is_some(), "{mood:?}");
            let hours = u64::try_from(6 * quarter).unwrap() + hour;
            // What a server reads and does not keep counts as sent until that shows.
            let is_exact = !(is_syslog && mood == Some(Mood::Refuses));
            node.must_be_behind(&facts, hours, is_exact);
        }
        let tries_of_it = tried() - before;
        let (least, most) = expected(mood, is_syslog);
        assert!(
            (least..=most).contains(&tries_of_it),
            "{mood:?}: {tries_of_it} tries, {least} to {most} are expected"
        );
        tries += tries_of_it;
    }
    assert!(tries < 24 * 3600 / 15, "{tries}");
    let held = resident_bytes().saturating_sub(held_before);
    assert!(
        held < node.total_bytes / 8,
        "{held} of {} bytes",
        node.total_bytes
    );
    let told = log.lines().len();
    let hours = usize::try_from(24 * HOUR.as_secs() / TELL_AGAIN.as_secs()).unwrap();
    assert!(
        (hours - 1..=hours + 1).contains(&told),
        "{:#?}",
        log.lines()
    );
    node.must_be_whole();

    // The sink is back.
    door.open(Mood::Takes);
    let back = Instant::now();
    while door.last() < node.chain.sequence() || door.last() == 0 {
        node.go_on(TICK, 20).await;
        assert!(
            back.elapsed() < Duration::from_secs(600),
            "{:?}",
            status.facts()
        );
    }
    let first = door.taken.lock().first_at.unwrap();
    assert!(first - back <= RETRY_CAP + TICK, "{:?}", first - back);
    door.must_have(&node, &status.facts());

    // And everything is as it was.
    node.go_on(SETTLE + 2 * TICK, 20).await;
    let facts = status.facts();
    assert!(
        facts.lag_records <= PER_TICK && facts.lag_seconds <= 1,
        "{facts:?}"
    );
    assert!(facts.delivered > door.last() - 20 * PER_TICK, "{facts:?}");
    assert_eq!(facts.trouble, None);
    let lines = log.lines();
    let again: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("taken again"))
        .collect();
    assert_eq!((again.len(), lines.len()), (1, told + 1), "{lines:#?}");
    stop.send(true).unwrap();
    task.await.unwrap();
}

fn start(
    node: &Node,
    door: &Door,
) -> (
    Arc<Status>,
    Arc<AtomicUsize>,
    watch::Sender<bool>,
    tokio::task::JoinHandle<()>,
) {
    let reads: Arc<AtomicUsize> = Arc::default();
    let source = Counted {
        folder: FolderSource::new(node.dir.path(), door.sink.name(), node.head()),
        reads: Arc::clone(&reads),
    };
    let status = Arc::new(Status::new(&door.sink));
    let (stop, stopped) = watch::channel(false);
    let (told, who) = (Arc::clone(&status), Arc::new(who()));
    let task = match door.sink.clone().0 {
        Kind::Syslog(to) => {
            let link = SyslogLink::new(to, who);
            tokio::spawn(Work::new(source, link, told, virtual_ms).run(stopped))
        }
        Kind::Otlp(to) => {
            let link = OtlpLink::new(to, who);
            tokio::spawn(Work::new(source, link, told, virtual_ms).run(stopped))
        }
    };
    (status, reads, stop, task)
}

/// How often it may be tried in six hours: each wait is half of RETRY_CAP to all of it, behind what the try itself takes.
fn expected(mood: Option<Mood>, is_syslog: bool) -> (usize, usize) {
    let (shortest, longest) = match (mood, is_syslog) {
        (Some(Mood::Refuses), false) => (RETRY_AFTER_MAX, RETRY_AFTER_MAX),
        (Some(Mood::IsSilent), true) => (RETRY_CAP / 2 + CONNECT_LIMIT, RETRY_CAP + CONNECT_LIMIT),
        (Some(Mood::IsSilent), false) => (RETRY_CAP / 2 + DELIVER_LIMIT, RETRY_CAP + DELIVER_LIMIT),
        _ => (RETRY_CAP / 2, RETRY_CAP),
    };
    let times = |wait: Duration| usize::try_from(6 * 3600 / wait.as_secs()).unwrap();
    // A socket may cost some ticks; the first tries are made sooner.
    (times(longest + 5 * TICK), times(shortest) + 16)
}

/// A folder that is read, counted.
struct Counted {
    folder: FolderSource,
    reads: Arc<AtomicUsize>,
}

impl Source for Counted {
    const LOOK_EVERY: Duration = FolderSource::LOOK_EVERY;

    async fn load(&mut self) -> Result<Option<Place>, Trouble> {
        self.folder.load().await
    }

    async fn oldest(&mut self) -> Result<Place, Trouble> {
        self.folder.oldest().await
    }

    async fn read(&mut self, after: &Place) -> Result<Lines, Trouble> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.folder.read(after).await
    }

    async fn keep(&mut self, place: &Place) -> Result<(), Trouble> {
        self.folder.keep(place).await
    }
}

/// Memory of this process (proc(5), `statm`).
fn resident_bytes() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

const HOUR: Duration = Duration::from_secs(3600);

const ALONE: &str = "ADIT_TEST_ALONE";

/// What both tests are called, up to the way.
const NAME: &str = "r04_a_sink_that_is_down_for_a_day_is_tried_now_and_then_gets_what_is_left_and_is_told_of_the_rest_over_";
