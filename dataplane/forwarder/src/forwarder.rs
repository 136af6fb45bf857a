//! The forwarder of a node: one thread beside those that serve, a task for each sink.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::folder::{FolderSource, Written};
use crate::forward::forward;
use crate::metrics;
use crate::settings::Sink;
use crate::status::{Facts, Status, Who};

/// Sends the records of a node on.
#[derive(Debug)]
pub struct Forwarder {
    sinks: Vec<Arc<Status>>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why records cannot be sent on.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Forwarder {
    /// Starts the thread, where there are sinks. `folder` has the segments, and `written` tells the number of the last
    /// record that is synced there.
    ///
    /// # Errors
    /// When a file that a sink names cannot be used, or there is no thread to be had.
    pub fn start(
        sinks: Vec<Sink>,
        folder: &Path,
        who: Who,
        written: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        for sink in &sinks {
            sink.check()
                .map_err(|why| StartError(format!("audit.{why}")))?;
        }
        let (stop, stopped) = watch::channel(false);
        let statuses: Vec<Arc<Status>> = sinks
            .iter()
            .map(|sink| Arc::new(Status::new(sink)))
            .collect();
        if sinks.is_empty() {
            return Ok(Self {
                sinks: statuses,
                stop,
                thread: Mutex::new(None),
            });
        }
        metrics::describe();
        let written: Written = Arc::new(written);
        let who = Arc::new(who);
        let works: Vec<_> = sinks
            .into_iter()
            .zip(&statuses)
            .map(|(sink, status)| {
                let source = FolderSource::new(folder, sink.name(), Arc::clone(&written));
                let (who, status) = (Arc::clone(&who), Arc::clone(status));
                forward(source, sink, who, status, stopped.clone())
            })
            .collect();
        let failed = |error: std::io::Error| StartError(format!("audit: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("audit-sinks".to_owned())
            .spawn(move || {
                // What goes elsewhere keeps no request waiting for a processor. Where that is not to be had, it goes on.
                let _ = rustix::process::nice(NICER);
                let tasks: Vec<_> = works.into_iter().map(|work| runtime.spawn(work)).collect();
                runtime.block_on(async {
                    for task in tasks {
                        if task.await.is_err() {
                            tracing::error!("a task that sends audit records ended unexpectedly");
                        }
                    }
                });
                runtime.shutdown_timeout(GRACE);
            })
            .map_err(failed)?;
        Ok(Self {
            sinks: statuses,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Sends what is left, for a moment, and ends the thread. Called again, it does nothing.
    pub fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        let _ = self.stop.send(true);
        if thread.join().is_err() {
            tracing::error!("the thread that sends audit records ended unexpectedly");
        }
    }

    /// What it says of each sink.
    #[must_use]
    pub fn facts(&self) -> Vec<Facts> {
        self.sinks.iter().map(|sink| sink.facts()).collect()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// By how much it is nicer than the shards (setpriority(2)), as housekeeping is.
const NICER: i32 = 5;
/// For lookups of names that are under way at the end.
const GRACE: Duration = Duration::from_secs(1);
