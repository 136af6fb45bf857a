//! The one thread that is no shard: admin requests, upkeep, signals and whatever else has time.
//!
//! It runs a tokio runtime of its own, so that nothing done here takes a turn from a shard's loop. No payload comes
//! here. What runs on it is the role's choice; the metrics' upkeep always does.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::metrics;

/// How long [`Handle::shutdown`] waits for blocking work (DNS lookups, file reads) before it leaves it behind.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// By how much housekeeping is nicer than the shards (setpriority(2)): a third of a shard's weight.
const NICER: i32 = 5;

/// Makes the housekeeping thread.
#[derive(Debug)]
pub struct Housekeeping;

impl Housekeeping {
    /// Starts the thread under the name `name` (at most 15 bytes are shown by the system) and the metrics' upkeep on it.
    ///
    /// # Errors
    /// When the system has no thread or descriptor to give.
    pub fn start(name: &str) -> io::Result<Handle> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Requests go first where a processor is shared: a push that compiles shall not keep a shard waiting.
                // Threads for blocking work are begun here and inherit it. Nobody is refused this direction.
                let _ = rustix::process::nice(NICER);
                // Either somebody called `shutdown`, or every handle is gone.
                drop(runtime.block_on(stopped));
                runtime.shutdown_timeout(SHUTDOWN_GRACE);
            })?;
        handle.spawn(upkeep());
        Ok(Handle {
            runtime: handle,
            running: Arc::new(Mutex::new(Some(Running { stop, thread }))),
        })
    }
}

/// The way to the housekeeping thread, from any thread. When the last handle is dropped, the thread ends.
#[derive(Debug, Clone)]
pub struct Handle {
    runtime: runtime::Handle,
    running: Arc<Mutex<Option<Running>>>,
}

impl Handle {
    /// Runs `future` on the housekeeping thread, until it is done or the thread is shut down.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// Runs `future` on the housekeeping thread and waits here for what it gives. Not for use on that thread itself,
    /// nor on a shard: it blocks.
    ///
    /// # Errors
    /// When the thread was shut down before the future was done, or the future panicked.
    pub fn block_on_from_main<F>(&self, future: F) -> Result<F::Output, Stopped>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        debug_assert!(
            runtime::Handle::try_current().is_err(),
            "waiting on a thread that runs a runtime stops the runtime"
        );
        let (done, wait) = mpsc::sync_channel(1);
        drop(self.spawn(async move {
            let output = future.await;
            drop(done.send(output));
        }));
        wait.recv().map_err(|mpsc::RecvError| Stopped)
    }

    /// Takes over SIGTERM and SIGINT of the process, from this call on: they no longer end it by themselves.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn signals(&self) -> io::Result<Signals> {
        let _context = self.runtime.enter();
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            _file_size: unix::signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            asked: false,
        })
    }

    /// Drops all that runs on the thread and waits for its end, at most [`SHUTDOWN_GRACE`] for blocking work.
    /// Called again, or by a second thread, it does nothing.
    pub fn shutdown(&self) {
        let running = self.running.lock().take();
        if let Some(Running { stop, thread }) = running {
            let _ = stop.send(());
            // A thread cannot wait for its own end; called on it, shutdown only asks.
            if thread.thread().id() != thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

/// The housekeeping thread is no more, or what it ran for the caller panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the housekeeping thread stopped before it had an answer")
    }
}

impl std::error::Error for Stopped {}

/// The operator's (or orchestrator's) wishes, as signals.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    // Taken over so that a limit of file sizes (ulimit -f) makes a write fail and does not end the process.
    _file_size: unix::Signal,
    asked: bool,
}

impl Signals {
    /// Waits for the next wish. May be dropped while it waits without missing one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        if std::mem::replace(&mut self.asked, true) {
            Signal::Again
        } else {
            Signal::Terminate
        }
    }
}

/// One wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: ask once to drain, twice to cut"
)]
pub enum Signal {
    /// The first SIGTERM or SIGINT: drain, then end.
    Terminate,
    /// Any later one: end now.
    Again,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

async fn upkeep() {
    let mut ticks = tokio::time::interval(metrics::UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics::upkeep();
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Sent, getpid, kill_process};

    use super::*;

    #[test]
    fn work_runs_on_the_thread_of_that_name_and_its_answer_comes_back() {
        let handle = Housekeeping::start("keep-answer").unwrap();
        let name = handle
            .block_on_from_main(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                thread::current().name().map(str::to_owned)
            })
            .unwrap();
        assert_eq!(name.as_deref(), Some("keep-answer"));
        handle.shutdown();
    }

    #[test]
    fn shutdown_drops_what_runs_and_may_be_called_twice() {
        struct Dropped(mpsc::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let handle = Housekeeping::start("keep-drop").unwrap();
        let (sender, dropped) = mpsc::channel();
        let guard = Dropped(sender);
        drop(handle.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }));
        handle.shutdown();
        assert_eq!(dropped.try_recv(), Ok(()), "gone before shutdown returns");
        handle.shutdown();
        assert_eq!(handle.block_on_from_main(async { 1 }), Err(Stopped));
    }

    #[test]
    fn a_panic_in_a_task_is_no_answer_and_no_end_of_the_thread() {
        let handle = Housekeeping::start("keep-panic").unwrap();
        let outcome = handle.block_on_from_main(async { panic!("a bug of ours, in a test") });
        assert_eq!(outcome, Err::<(), _>(Stopped));
        assert_eq!(handle.block_on_from_main(async { 2 }), Ok(2));
    }

    #[test]
    fn the_first_signal_asks_to_drain_and_later_ones_to_cut() {
        let handle = Housekeeping::start("keep-signals").unwrap();
        let mut signals = handle.signals().unwrap();
        let (sender, seen) = mpsc::channel();
        drop(handle.spawn(async move {
            loop {
                let _ = sender.send(signals.next().await);
            }
        }));
        let patience = Duration::from_secs(10);
        for (sent, expected) in [
            (Sent::TERM, Signal::Terminate),
            (Sent::INT, Signal::Again),
            (Sent::TERM, Signal::Again),
        ] {
            kill_process(getpid(), sent).unwrap();
            assert_eq!(seen.recv_timeout(patience), Ok(expected));
        }
    }
}
