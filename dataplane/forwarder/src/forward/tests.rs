//! One sink through outages, ends and other chains, in virtual time: a spool and a sink in memory.
//!
//! Real sinks are the journeys'.

use parking_lot::Mutex;

use super::*;
use crate::test_world::chain;

/// A chain of which the first lines may be gone, and what is kept of a sink.
#[derive(Clone, Default)]
struct Spool(Arc<Mutex<Spooled>>);

#[derive(Default)]
struct Spooled {
    lines: Vec<Vec<u8>>,
    removed: usize,
    kept: Option<Place>,
    keeps: usize,
    is_full: bool,
}

impl Source for Spool {
    const LOOK_EVERY: Duration = Duration::from_millis(250);

    async fn load(&mut self) -> Result<Option<Place>, Trouble> {
        Ok(self.0.lock().kept)
    }

    async fn oldest(&mut self) -> Result<Place, Trouble> {
        let spooled = self.0.lock();
        let line = spooled.lines.get(spooled.removed);
        Ok(line
            .and_then(|line| Place::before(line))
            .unwrap_or(Place::START))
    }

    async fn read(&mut self, after: &Place) -> Result<Lines, Trouble> {
        let spooled = self.0.lock();
        let head = u64::try_from(spooled.lines.len()).unwrap();
        let mut lines = Lines::behind(after, head)?;
        let rest = match head > after.sequence {
            true => &spooled.lines[spooled.removed..],
            false => &[],
        };
        for line in rest {
            if !lines.push(line)? {
                break;
            }
        }
        Ok(lines)
    }

    async fn keep(&mut self, place: &Place) -> Result<(), Trouble> {
        let mut spooled = self.0.lock();
        if spooled.is_full {
            return Err(Trouble::Unreadable("no space left".to_owned()));
        }
        spooled.kept = Some(*place);
        spooled.keeps += 1;
        Ok(())
    }
}

/// A sink that takes what it is told to.
#[derive(Clone)]
struct Fake(Arc<Mutex<Taken>>);

struct Taken {
    numbers: Vec<u64>,
    gaps: Vec<Gap>,
    tries: Vec<Instant>,
    settles: Settles,
    is_down: bool,
    wait: Option<Duration>,
    has_ended: Arc<tokio::sync::Notify>,
    answers_close: bool,
    closes: bool,
    hangs: bool,
}

impl Fake {
    fn new(settles: Settles) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            numbers: Vec::new(),
            gaps: Vec::new(),
            tries: Vec::new(),
            settles,
            is_down: false,
            wait: None,
            has_ended: Arc::default(),
            answers_close: false,
            closes: false,
            hangs: false,
        })))
    }
}

impl Deliver for Fake {
    async fn send(&mut self, lines: &Lines) -> Result<Sent, Failed> {
        if self.0.lock().hangs {
            std::future::pending::<()>().await;
        }
        let mut taken = self.0.lock();
        taken.tries.push(Instant::now());
        if taken.is_down {
            return Err(Failed {
                wait: taken.wait,
                ..Failed::new(Why::Dial, "nobody is there".to_owned())
            });
        }
        taken.gaps.extend(lines.gap());
        taken
            .numbers
            .extend(lines.items().iter().map(|item| item.sequence));
        if taken.closes {
            taken.has_ended.notify_one();
        }
        Ok(Sent {
            settles: taken.settles,
            rejected: 0,
            words: String::new(),
        })
    }

    async fn ended(&mut self) {
        let ended = Arc::clone(&self.0.lock().has_ended);
        ended.notified().await;
    }

    async fn finish(&mut self) -> bool {
        self.0.lock().answers_close
    }

    fn close(&mut self) {}
}

struct World {
    spool: Spool,
    sink: Fake,
    status: Arc<Status>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn of(spool: Spool, sink: Fake) -> Self {
        let status = Arc::new(Status::of("syslog", "logs:6514".to_owned()));
        let (stop, stopped) = watch::channel(false);
        let work = Work::new(spool.clone(), sink.clone(), Arc::clone(&status), unix_ms);
        Self {
            spool,
            sink,
            status,
            stop,
            task: tokio::spawn(work.run(stopped)),
        }
    }

    fn with(lines: usize, settles: Settles) -> Self {
        let spool = Spool::default();
        spool.0.lock().lines = chain(lines, 0);
        Self::of(spool, Fake::new(settles))
    }

    fn taken(&self) -> Vec<u64> {
        self.sink.0.lock().numbers.clone()
    }

    fn kept(&self) -> u64 {
        self.spool.0.lock().kept.map_or(0, |kept| kept.sequence)
    }

    async fn end(self) -> (Spool, Fake) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        (self.spool, self.sink)
    }
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test(start_paused = true)]
async fn all_there_is_goes_out_in_order_and_what_is_answered_is_kept_at_the_end() {
    let world = World::with(450, Settles::Now);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(world.taken(), up_to(450));
    world.spool.0.lock().lines = chain(451, 0);
    sleep(Spool::LOOK_EVERY).await;
    assert_eq!(world.status.facts().delivered, 451);
    assert_eq!(world.status.facts().lag_records, 0);
    let (spool, sink) = world.end().await;
    assert_eq!(spool.0.lock().kept.unwrap().sequence, 451);
    // The next process goes on behind it.
    let again = World::of(spool, sink);
    again.spool.0.lock().lines = chain(452, 0);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(again.taken(), up_to(452));
}

#[tokio::test(start_paused = true)]
async fn the_place_is_written_once_in_keep_every() {
    let world = World::with(1, Settles::Now);
    sleep(Duration::from_millis(1)).await;
    let keeps = world.spool.0.lock().keeps;
    sleep(KEEP_EVERY - Duration::from_millis(260)).await;
    assert_eq!(world.spool.0.lock().keeps, keeps, "not before");
    sleep(Duration::from_millis(520)).await;
    assert_eq!(world.spool.0.lock().keeps, keeps + 1);
    assert_eq!(world.kept(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgement_lines_count_when_the_connection_lived_on_for_settle() {
    let world = World::with(3, Settles::Later);
    sleep(SETTLE - Duration::from_millis(300)).await;
    assert_eq!(world.status.facts().delivered, 0);
    sleep(Duration::from_millis(600)).await;
    assert_eq!(world.status.facts().delivered, 3);
    // A server that closes when it has nothing to do loses nothing.
    world.sink.0.lock().has_ended.notify_one();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.status.facts().trouble, None);
    sleep(Duration::from_secs(1)).await;
    world.spool.0.lock().lines = chain(5, 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.taken(), up_to(5));
    // What has not settled goes out again when the connection breaks, and nothing before it.
    world.sink.0.lock().has_ended.notify_one();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.taken(), [1, 2, 3, 4, 5, 4, 5]);
    assert_eq!(world.status.facts().delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn lines_settle_on_no_connection_that_ended_while_the_disk_was_full() {
    let world = World::with(3, Settles::Later);
    sleep(SETTLE + Duration::from_secs(1)).await;
    assert_eq!(world.status.facts().delivered, 3);
    // What counts as delivered cannot be written down from now on, and it is tried more and more seldom.
    world.spool.0.lock().lines = chain(5, 0);
    sleep(Spool::LOOK_EVERY).await;
    world.spool.0.lock().is_full = true;
    world.spool.0.lock().kept = None;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.taken(), up_to(5));
    sleep(Duration::from_secs(5)).await;
    world.sink.0.lock().has_ended.notify_one();
    sleep(SETTLE * 4).await;
    assert!(world.taken().len() > 5, "they were sent again");
    world.spool.0.lock().is_full = false;
    sleep(RETRY_CAP * 2).await;
    let facts = world.status.facts();
    assert_eq!((facts.delivered, facts.trouble), (5, None));
}

#[tokio::test(start_paused = true)]
async fn trouble_with_reading_is_over_when_it_is_also_where_there_is_nothing_to_send() {
    let world = World::with(3, Settles::Now);
    world.spool.0.lock().is_full = true;
    sleep(Duration::from_secs(5)).await;
    let trouble = world.status.facts().trouble;
    assert_eq!(trouble.as_deref(), Some("no space left"));
    world.spool.0.lock().is_full = false;
    sleep(RETRY_CAP * 2).await;
    assert_eq!(world.status.facts().trouble, None);
    assert_eq!(world.taken(), up_to(3));
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered_settles_and_one_that_is_not_does_not() {
    for (answers_close, kept) in [(true, 3), (false, 0)] {
        let world = World::with(3, Settles::Later);
        world.sink.0.lock().answers_close = answers_close;
        sleep(Duration::from_millis(10)).await;
        let (spool, _) = world.end().await;
        assert_eq!(spool.0.lock().kept.unwrap().sequence, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_a_sink_is_down_is_counted_once_and_told_when_it_is_back() {
    let world = World::with(10, Settles::Now);
    world.sink.0.lock().is_down = true;
    sleep(Duration::from_secs(1)).await;
    let facts = world.status.facts();
    assert_eq!((facts.lag_records, facts.gap_records), (10, 0));
    assert_eq!(facts.trouble.as_deref(), Some("nobody is there"));
    for (removed, counted) in [(4, 4), (4, 4), (6, 6)] {
        world.spool.0.lock().removed = removed;
        sleep(RETRY_CAP).await;
        assert_eq!(world.status.facts().gap_records, counted);
    }
    world.sink.0.lock().is_down = false;
    sleep(RETRY_CAP).await;
    assert_eq!(world.sink.0.lock().gaps, [Gap { from: 1, to: 6 }]);
    assert_eq!(world.taken(), [7, 8, 9, 10]);
    assert_eq!(world.status.facts().gap_records, 6);
    assert_eq!(world.status.facts().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn records_of_before_the_sink_was_named_are_no_gap() {
    let spool = Spool::default();
    spool.0.lock().lines = chain(10, 0);
    spool.0.lock().removed = 4;
    let world = World::of(spool, Fake::new(Settles::Now));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(world.taken(), [5, 6, 7, 8, 9, 10]);
    assert_eq!(world.status.facts().gap_records, 0);
}

#[tokio::test(start_paused = true)]
async fn another_chain_is_sent_from_its_beginning() {
    let world = World::with(10, Settles::Now);
    sleep(Duration::from_millis(10)).await;
    world.spool.0.lock().lines = chain(3, 7);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.taken()[10..], [1, 2, 3]);
    world.spool.0.lock().lines = chain(20, 5);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(world.taken()[13..], up_to(20));
    // Shorter again where it was broken before: what is there goes out, nobody waits for more.
    // What is gone of another one is a gap, whatever numbers were counted before.
    world.sink.0.lock().is_down = true;
    world.spool.0.lock().lines = chain(30, 6);
    sleep(Duration::from_secs(60)).await;
    world.spool.0.lock().removed = 4;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.status.facts().gap_records, 4);
    world.sink.0.lock().is_down = false;
    world.spool.0.lock().removed = 0;
    sleep(Duration::from_secs(60)).await;
    for (count, filler) in [(10, 8), (15, 8), (20, 8), (7, 9)] {
        let before = world.taken().len();
        world.spool.0.lock().lines = chain(count, filler);
        sleep(Duration::from_secs(60)).await;
        let last = u64::try_from(count).unwrap();
        assert_eq!(world.taken()[before..].last(), Some(&last), "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_chain_is_sent_again_from_its_beginning_breaks_max_times_at_most_and_to_its_end() {
    for breaks in [
        1,
        3,
        BREAKS_MAX - 1,
        BREAKS_MAX,
        BREAKS_MAX + 1,
        2 * BREAKS_MAX,
    ] {
        // Lines of two chains in turns: none follows the one before it.
        let chains = [chain(breaks + 1, 0), chain(breaks + 1, 1)];
        let mixed = (0..=breaks).map(|at| chains[at % 2][at].clone());
        let spool = Spool::default();
        spool.0.lock().lines = mixed.collect();
        let world = World::of(spool, Fake::new(Settles::Now));
        sleep(Duration::from_secs(600)).await;
        let taken = world.taken();
        let head = u64::try_from(breaks + 1).unwrap();
        assert_eq!(world.status.facts().delivered, head);
        let first = taken.iter().filter(|number| **number == 1).count();
        assert_eq!(first, 1 + breaks.min(BREAKS_MAX));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(world.taken(), taken, "nothing more comes of it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_and_closes_is_left_alone_for_longer_and_longer() {
    let world = World::with(3, Settles::Later);
    world.sink.0.lock().closes = true;
    sleep(Duration::from_secs(3600)).await;
    let tries = world.sink.0.lock().tries.clone();
    assert!(tries.len() < 3600 / 15 + 10, "{}", tries.len());
    let longest = RETRY_CAP + Spool::LOOK_EVERY;
    assert!(tries.windows(2).all(|two| two[1] - two[0] <= longest));
    assert_eq!(world.status.facts().delivered, 0);
    // What it keeps for long enough counts, and the waits begin anew.
    world.sink.0.lock().closes = false;
    sleep(RETRY_CAP + SETTLE + Duration::from_secs(1)).await;
    assert_eq!(world.status.facts().delivered, 3);
    world.spool.0.lock().lines = chain(4, 0);
    world.sink.0.lock().closes = true;
    sleep(Duration::from_secs(2)).await;
    let again = world.sink.0.lock().tries.len();
    assert!(again >= tries.len() + 3, "{again} {}", tries.len());
}

#[tokio::test(start_paused = true)]
async fn lag_is_told_while_a_sink_is_down_and_ends_with_it() {
    let world = World::with(300, Settles::Now);
    world.sink.0.lock().is_down = true;
    sleep(Duration::from_secs(1)).await;
    let facts = world.status.facts();
    // The lines are of 2023.
    assert!(
        facts.lag_records == 300 && facts.lag_seconds > 86_400,
        "{facts:?}"
    );
    world.sink.0.lock().is_down = false;
    sleep(RETRY_CAP).await;
    let facts = world.status.facts();
    assert_eq!((facts.lag_records, facts.lag_seconds), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_wants_to_be_left_alone_is() {
    let world = World::with(1, Settles::Now);
    {
        let mut sink = world.sink.0.lock();
        sink.is_down = true;
        sink.wait = Some(Duration::from_secs(100));
    }
    sleep(Duration::from_secs(99)).await;
    assert_eq!(world.sink.0.lock().tries.len(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.sink.0.lock().tries.len(), 2);
}

#[test]
fn waits_begin_at_retry_first_and_never_exceed_retry_cap() {
    assert_eq!(backoff(0, 1.0), RETRY_FIRST);
    assert_eq!(backoff(0, 0.0), RETRY_FIRST / 2);
    assert_eq!(backoff(5, 1.0), RETRY_FIRST * 32);
    assert_eq!(backoff(6, 1.0), RETRY_CAP);
    assert_eq!(backoff(u32::MAX, 1.0), RETRY_CAP);
    assert_eq!(backoff(u32::MAX, 0.0), RETRY_CAP / 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_stop_limit_for_a_sink_that_hangs_and_not_for_one_that_is_down() {
    let hanging = World::with(1, Settles::Now);
    hanging.sink.0.lock().hangs = true;
    sleep(Duration::from_millis(10)).await;
    let began = Instant::now();
    hanging.end().await;
    assert_eq!(began.elapsed(), STOP_LIMIT);
    let down = World::with(1, Settles::Now);
    down.sink.0.lock().is_down = true;
    sleep(Duration::from_millis(10)).await;
    let began = Instant::now();
    down.end().await;
    assert!(began.elapsed() < STOP_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn when_whoever_could_ask_for_an_end_is_gone_it_ends() {
    for is_down in [false, true] {
        let world = World::with(1, Settles::Now);
        world.sink.0.lock().is_down = is_down;
        sleep(Duration::from_millis(10)).await;
        drop(world.stop);
        let began = Instant::now();
        world.task.await.unwrap();
        assert!(began.elapsed() < STOP_LIMIT);
    }
}
