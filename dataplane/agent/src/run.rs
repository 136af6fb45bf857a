//! An agent from start to end: rules, tunnels, shards, signals, drain.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use adit_audit::Sink;
use adit_mux::Budget;
use adit_recorder::Audit;
use adit_runtime::admin::Doors;
use adit_runtime::drain::{Drain, Phase};
use adit_runtime::housekeeping::{Handle, Housekeeping, Signal};
use adit_runtime::journal::Journal;
use adit_runtime::mailbox::{Receiver, mailbox};
use adit_runtime::resolve::Resolver;
use adit_runtime::{clock, logging, shard};
use adit_subscription::{Facts, Subscription};
use adit_transport::dial::Dialler;
use adit_transport::link::mux_settings;
use arc_swap::{ArcSwap, ArcSwapOption};

use crate::control::Subscribed;
use crate::decisions::Decisions;
use crate::limits::{MAILBOX_MAX, WINDOW_BUDGET_BYTES};
use crate::metrics::{Counters, FAMILIES, SystemLabels};
use crate::settings::{SOFTWARE, Settings};
use crate::shard::{Message, Shard, Shared};
use crate::signers::Signers;
use crate::snapshot_store::{Folder, Store};
use crate::status::Status;
use crate::subscription::{Intake, last_good};
use crate::trace::Traces;
use crate::tunnels::{self, Board};

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
    housekeeping: Handle,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    addresses: Addresses,
    audit: Arc<Audit>,
    // Last: it writes what the others had to say.
    _logging: logging::Logging,
}

/// Where an agent listens: for its operator only.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Addresses {
    /// Admin endpoint; the real port where 0 was asked for.
    pub admin: Option<SocketAddr>,
}

/// Why an agent did not start.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl Agent {
    /// Opens the admin doors, begins to record, reads the last good rules and starts the threads. Tunnels come up
    /// later, or are tried for ever.
    ///
    /// # Errors
    /// When the state folder, the audit folder or an admin address cannot be had, a driver or a thread cannot be
    /// started.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let logging = logging::start(&settings.logging).map_err(StartError::new)?;
        adit_runtime::metrics::install().map_err(StartError::new)?;
        adit_runtime::metrics::describe(FAMILIES);
        let choice =
            shard::choose(std::env::var("ADITD_DRIVER").ok().as_deref()).map_err(StartError)?;
        let store = Store::new(Folder::claim(&settings.state).map_err(StartError)?);
        // One more than shards: pushes are recorded by housekeeping.
        let threads = settings.shards + 1;
        let audit = Audit::start(settings.audit.clone(), &settings.name, threads)
            .map(Arc::new)
            .map_err(StartError::new)?;
        let doors =
            Doors::open(&settings.admin).map_err(|error| StartError(format!("admin: {error}")))?;
        let addresses = Addresses {
            admin: doors.address(),
        };
        let journal = Arc::new(Journal::new());
        let signers = Signers::new(&settings);
        let rules =
            last_good(&store, &settings.backend.tls_roots, &signers, &journal).map_err(|why| {
                StartError(format!("agent.state {}: {why}", settings.state.display()))
            })?;
        Counters::snapshot_in_force(rules.as_ref());

        let housekeeping = Housekeeping::start("housekeeping").map_err(StartError::new)?;
        let sink = Some(audit.sink());
        let (shared, receivers) = share(settings, &housekeeping, choice, journal, sink)?;
        shared.in_force.store(rules.map(Arc::new));
        let intake = Arc::new(Intake::new(Arc::clone(&shared), store, signers));
        let status = Arc::new(Status {
            shared: Arc::clone(&shared),
            intake: Arc::clone(&intake),
            since_unix: clock::unix_now(),
            audit: Arc::clone(&audit),
        });
        if let Some(control) = shared.control.clone() {
            adit_runtime::metrics::describe(adit_subscription::metrics::FAMILIES);
            let subscribed = Subscribed {
                shared: Arc::clone(&shared),
                intake,
                status: Arc::clone(&status),
            };
            drop(housekeeping.spawn(async move { control.run(&subscribed).await }));
        }
        drop(housekeeping.spawn(async move {
            if let Err(error) = doors.serve(status).await {
                tracing::error!(%error, "admin endpoint ended");
            }
        }));

        let mut threads = Vec::with_capacity(receivers.len());
        for (index, receiver) in receivers.into_iter().enumerate() {
            let of = Arc::clone(&shared);
            let thread = shard::start(shared.choice.driver, index, move || {
                run_shard(index, of, receiver)
            })
            .map_err(|error| StartError(format!("shard {index}: {error}")))?;
            threads.push(thread);
        }
        tunnels::begin(&shared);
        tracing::info!(
            subaccount = %shared.subaccount, location = %shared.location, gateways = shared.gateways.len(),
            admin = ?addresses.admin, shards = threads.len(), driver = %shared.choice.driver,
            reason = %shared.choice.reason,
            rules = shared.in_force.load().as_ref().map_or(0, |rules| rules.snapshot.version()), "agent up"
        );
        Ok(Self {
            shared,
            housekeeping,
            threads,
            addresses,
            audit,
            _logging: logging,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until told to end: the first SIGTERM or SIGINT drains, the second cuts.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let signals = match self.housekeeping.signals() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "no signal handlers; ends only by force");
                return ExitCode::FAILURE;
            }
        };
        let shared = Arc::clone(&self.shared);
        drop(self.housekeeping.spawn(async move {
            let mut signals = signals;
            loop {
                let phase = match signals.next().await {
                    Signal::Terminate => Phase::Draining,
                    Signal::Again => Phase::Cut,
                };
                tracing::info!(?phase, "asked to end");
                advance(&shared, phase);
            }
        }));
        self.wait()
    }

    /// Begins the drain without a signal.
    pub fn drain(&self) {
        advance(&self.shared, Phase::Draining);
    }

    /// Waits for the end of all shards.
    #[must_use]
    pub fn wait(self) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "shard failed");
                    code = ExitCode::FAILURE;
                }
                Err(_panic) => code = ExitCode::FAILURE,
            }
        }
        self.audit.stop();
        tracing::info!("agent down");
        self.housekeeping.shutdown();
        code
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

pub(crate) type Inboxes = Vec<Receiver<Message>>;

/// What all shards share, and the shards' ends of their mailboxes.
pub(crate) fn share(
    settings: Settings,
    housekeeping: &Handle,
    choice: shard::Choice,
    journal: Arc<Journal>,
    sink: Option<Arc<dyn Sink>>,
) -> Result<(Arc<Shared>, Inboxes), StartError> {
    let instance = fastrand::u128(..);
    let control = settings
        .control
        .map(|control| {
            let facts = Facts {
                software: SOFTWARE.to_owned(),
                instance: format!("{instance:032x}"),
            };
            Subscription::open(control, settings.proxy.clone(), facts).map(Arc::new)
        })
        .transpose()
        .map_err(StartError)?;
    let mut mailboxes = Vec::with_capacity(settings.shards);
    let mut receivers = Vec::with_capacity(settings.shards);
    for _ in 0..settings.shards {
        let (sender, receiver) = mailbox(MAILBOX_MAX).map_err(StartError::new)?;
        mailboxes.push(sender);
        receivers.push(receiver);
    }
    let resolver = Resolver::new(housekeeping.clone());
    let shared = Arc::new(Shared {
        name: settings.name,
        subaccount: settings.subaccount,
        location: settings.location,
        instance: instance.to_be_bytes(),
        gateways: settings.gateways,
        tunnels: settings.tunnels,
        dialler: Dialler {
            tls: Arc::new(ArcSwap::from_pointee(settings.tls)),
            mux: mux_settings(
                settings.streams_max,
                Arc::new(Budget::new(WINDOW_BUDGET_BYTES)),
            ),
            resolver: resolver.clone(),
            proxy: settings.proxy,
            connect_limit: settings.connect_timeout,
        },
        retry_cap: settings.retry_cap,
        backend: settings.backend,
        resolver,
        in_force: ArcSwapOption::empty(),
        decisions: Decisions::new(sink),
        traces: Traces::new(mailboxes.len()),
        board: Board::default(),
        labels: SystemLabels::default(),
        mailboxes,
        streams: AtomicUsize::new(0),
        drain: Drain::new(),
        drain_limit: settings.drain,
        journal,
        choice,
        trusted: ArcSwapOption::empty(),
        control,
    });
    Ok((shared, receivers))
}

fn advance(shared: &Shared, phase: Phase) {
    shared.drain.advance(phase);
    for mailbox in &shared.mailboxes {
        // A shard that has ended needs no message.
        let _ = mailbox.send(Message::Drain);
    }
}

async fn run_shard(index: usize, shared: Arc<Shared>, receiver: Receiver<Message>) {
    match receiver.open() {
        Ok(inbox) => Rc::new(Shard::new(index, shared)).run(inbox).await,
        Err(error) => tracing::error!(index, %error, "shard has no mailbox"),
    }
}

#[cfg(test)]
mod tests;
