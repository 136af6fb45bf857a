//! One sink: what it lacks is read, sent, and counted as delivered; for ever.
//!
//! How a sink is spoken to is a [`Deliver`]'s, where lines come from a [`Source`]'s.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::limits::{BREAKS_MAX, KEEP_EVERY, RETRY_CAP, RETRY_FIRST, SETTLE, STOP_LIMIT};
use crate::otlp_link::OtlpLink;
use crate::place::{Gap, Lines, Place, Source, Trouble};
use crate::settings::{Kind, Sink};
use crate::status::{Status, Who};
use crate::syslog_link::SyslogLink;

/// Sends what `source` has to `sink` until `stop` says so, and then what is left for a moment.
pub async fn forward<S: Source>(
    source: S,
    sink: Sink,
    who: Arc<Who>,
    status: Arc<Status>,
    stop: watch::Receiver<bool>,
) {
    match sink.0 {
        Kind::Syslog(to) => {
            Work::new(source, SyslogLink::new(to, who), status, unix_ms)
                .run(stop)
                .await
        }
        Kind::Otlp(to) => {
            Work::new(source, OtlpLink::new(to, who), status, unix_ms)
                .run(stop)
                .await
        }
    }
}

/// Speaks to a sink.
pub(crate) trait Deliver: Send {
    /// Brings these lines there, dialling where that is needed.
    fn send(&mut self, lines: &Lines) -> impl Future<Output = Result<Sent, Failed>> + Send;
    /// Returns when the connection ends, if there is one that matters.
    fn ended(&mut self) -> impl Future<Output = ()> + Send;
    /// Closes in good order: whether all that was sent is known to have come.
    fn finish(&mut self) -> impl Future<Output = bool> + Send;
    /// Drops the connection.
    fn close(&mut self);
}

/// What became of lines that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) settles: Settles,
    /// Records that the sink refused for good, and its words.
    pub(crate) rejected: u64,
    pub(crate) words: String,
}

/// When lines count as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settles {
    /// The sink said so.
    Now,
    /// When the connection has lived on.
    Later,
}

/// Lines were not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) why: Why,
    pub(crate) words: String,
    /// How long the sink wants to be left alone.
    pub(crate) wait: Option<Duration>,
}

/// At which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Files,
    Dial,
    Tls,
    Closed,
    Timeout,
    Refused,
    Records,
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Dial => "dial",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Records => "records",
        }
    }
}

impl Failed {
    pub(crate) fn new(why: Why, words: String) -> Self {
        Self {
            why,
            words,
            wait: None,
        }
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::new(Why::Records, trouble.to_string())
    }
}

struct Work<S, D> {
    source: S,
    link: D,
    status: Arc<Status>,
    // The time of day, in milliseconds since 1970.
    unix_ms: fn() -> u64,
    // Behind what counts as delivered; none until it is known.
    delivered: Option<Place>,
    // What of that is written down, and when that was.
    kept: Option<Place>,
    kept_at: Instant,
    // Behind what was sent; what lies between the two waits for its time.
    sent: Place,
    settling: VecDeque<(Instant, Place)>,
    // The last record of a gap that is counted.
    counted: u64,
    // Failures since something was delivered.
    failures: u32,
    // Behind which records the chain went on otherwise than was sent.
    breaks: Vec<u64>,
}

impl<S: Source, D: Deliver> Work<S, D> {
    fn new(source: S, link: D, status: Arc<Status>, unix_ms: fn() -> u64) -> Self {
        Self {
            source,
            link,
            status,
            unix_ms,
            delivered: None,
            kept: None,
            kept_at: Instant::now(),
            sent: Place::START,
            settling: VecDeque::new(),
            counted: 0,
            failures: 0,
            breaks: Vec::new(),
        }
    }

    async fn run(mut self, stop: watch::Receiver<bool>) {
        let mut asked = stop.clone();
        tokio::select! {
            () = self.go_on(stop) => {}
            () = async {
                stopped(&mut asked).await;
                sleep(STOP_LIMIT).await;
            } => {}
        }
        // Cut off: what is known to have come is written down all the same.
        let _ = self.keep(true).await;
    }

    async fn go_on(&mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let wait = match self.step().await {
                Ok(true) => continue,
                Ok(false) if is_asked(&stop) => break,
                Ok(false) => S::LOOK_EVERY,
                Err(failed) => {
                    let wait = self.failed(failed);
                    if is_asked(&stop) {
                        return;
                    }
                    wait
                }
            };
            if !self.wait(wait, &mut stop).await {
                return;
            }
        }
        if self.link.finish().await
            && let Some((_, place)) = self.settling.pop_back()
        {
            self.settling.clear();
            self.settled(place);
        }
    }

    /// Waits, and hears meanwhile of the end of the connection: what was sent last may be lost with it, and must not
    /// settle because it was not looked at. `false` when that was the end of all.
    async fn wait(&mut self, mut wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            tokio::select! {
                biased;
                () = self.link.ended() => match self.ended() {
                    Some(failed) => {
                        wait = self.failed(failed);
                        if is_asked(stop) {
                            return false;
                        }
                    }
                    None => return true,
                },
                () = sleep(wait) => return true,
                () = stopped(stop) => return true,
            }
        }
    }

    /// Sends one batch; `false` when there was none.
    async fn step(&mut self) -> Result<bool, Failed> {
        if self.delivered.is_none() {
            self.begin().await?;
        }
        while let Some((at, place)) = self.settling.front().copied()
            && at <= Instant::now()
        {
            self.settling.pop_front();
            self.settled(place);
        }
        self.keep(false).await?;
        let lines = match self.source.read(&self.sent).await {
            Err(Trouble::OtherChain) => {
                self.go_on_elsewhere().await?;
                return Err(Trouble::OtherChain.into());
            }
            read => read?,
        };
        let first = lines.first_unix_ms();
        let age = first.map_or(0, |first| (self.unix_ms)().saturating_sub(first));
        let behind = lines.head().saturating_sub(self.sent.sequence);
        self.status.lag(behind, Duration::from_millis(age));
        if lines.is_empty() {
            if behind == 0 && self.settling.is_empty() {
                // Trouble with reading is over, also where there is nothing to send.
                self.failures = 0;
                self.status.well();
            }
            return Ok(false);
        }
        if let Some(gap) = lines.gap() {
            self.count(gap);
        }
        let sent = self.link.send(&lines).await?;
        let now_unix = (self.unix_ms)() / 1000;
        let records = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.status.sent(records, now_unix);
        self.status
            .rejected(sent.rejected, &sent.words, Instant::now());
        self.sent = lines.end();
        match sent.settles {
            Settles::Now => self.settled(self.sent),
            Settles::Later => self
                .settling
                .push_back((Instant::now() + SETTLE, self.sent)),
        }
        let left = lines.head().saturating_sub(self.sent.sequence);
        self.status.lag(left, Duration::ZERO);
        Ok(true)
    }

    // The folder was replaced by another, and then all of it is new to the sink; or a line of it was changed, and then the
    // same break is met again on the second way through.
    async fn go_on_elsewhere(&mut self) -> Result<(), Trouble> {
        let at = self.sent.sequence;
        let is_known = self.breaks.contains(&at) || self.breaks.len() >= BREAKS_MAX;
        // Where there is nothing at all behind the place, it is another chain in any case.
        if is_known && !self.sent.is_break {
            self.sent.is_break = true;
            return Ok(());
        }
        if !is_known {
            self.breaks.push(at);
        }
        tracing::warn!(
            sequence = at,
            "the audit records here do not follow those that were sent; all there are go out from the oldest on"
        );
        let oldest = self.source.oldest().await?;
        self.start_at(oldest);
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Failed> {
        let place = match self.source.load().await? {
            Some(place) => place,
            None => self.source.oldest().await?,
        };
        self.start_at(place);
        self.keep(true).await
    }

    fn start_at(&mut self, place: Place) {
        self.settling.clear();
        self.sent = place;
        self.counted = place.sequence;
        self.deliver(place);
    }

    fn deliver(&mut self, place: Place) {
        self.delivered = Some(place);
        self.status.delivered(place.sequence);
    }

    // The sink has them: the outage is over.
    fn settled(&mut self, place: Place) {
        self.failures = 0;
        self.status.taken();
        self.deliver(place);
    }

    // Each record of a gap is counted once, also while the gap grows.
    fn count(&mut self, gap: Gap) {
        let from = gap.from.max(self.counted.saturating_add(1));
        if from <= gap.to {
            self.counted = gap.to;
            self.status.gap(Gap { from, to: gap.to }.records());
        }
    }

    async fn keep(&mut self, now: bool) -> Result<(), Failed> {
        let Some(place) = self.delivered.filter(|_| self.delivered != self.kept) else {
            return Ok(());
        };
        if now || self.kept_at.elapsed() >= KEEP_EVERY {
            self.source.keep(&place).await?;
            self.kept = Some(place);
            self.kept_at = Instant::now();
        }
        Ok(())
    }

    // What was sent and has not settled is sent again, and not at once: a server that closes each connection would be
    // dialled as quickly as it closes.
    fn ended(&mut self) -> Option<Failed> {
        self.link.close();
        let words = "the server has closed the connection, and what it was sent last is sent again";
        (!self.settling.is_empty()).then(|| Failed::new(Why::Closed, words.to_owned()))
    }

    fn go_back(&mut self) {
        self.settling.clear();
        if let Some(place) = self.delivered {
            self.sent = place;
        }
    }

    // How long to wait.
    fn failed(&mut self, failed: Failed) -> Duration {
        // Trouble with reading says nothing of the connection.
        if failed.why != Why::Records {
            self.link.close();
            self.go_back();
        }
        self.status
            .failed(failed.why.word(), &failed.words, Instant::now());
        let wait = backoff(self.failures, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        failed.wait.map_or(wait, |asked| asked.max(wait))
    }
}

/// The wait after so many failures before: drawn by `dice` (0 to 1) between half of a ceiling that doubles, and all of it.
fn backoff(failures: u32, dice: f64) -> Duration {
    let ceiling = RETRY_FIRST
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(RETRY_CAP);
    ceiling.mul_f64(dice.clamp(0.0, 1.0).midpoint(1.0))
}

fn is_asked(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could ask is gone: that is asking.
    let _ = stop.wait_for(|is_asked| *is_asked).await;
}

/// The time of day, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;
