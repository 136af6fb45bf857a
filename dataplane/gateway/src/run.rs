//! A gateway from start to end: doors, shards, signals, drain.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_audit::Level;
use adit_mux::Budget;
use adit_recorder::Audit;
use adit_runtime::admin::Doors;
use adit_runtime::drain::{Drain, Phase};
use adit_runtime::housekeeping::{Handle, Housekeeping, Signal};
use adit_runtime::journal::Journal;
use adit_runtime::mailbox::{Receiver, mailbox};
use adit_runtime::{clock, logging, shard};
use adit_subscription::{Facts, Subscription};
use adit_tls::Role;
use adit_transport::link::mux_settings;
use adit_transport::listen::{self as sockets, Listener};
use adit_transport::socket::Leg;
use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::json;

use crate::control::Subscribed;
use crate::directory::Directory;
use crate::metrics::FAMILIES;
use crate::records::Records;
use crate::settings::{KeySource, SOFTWARE, Settings};
use crate::shard::{Message, Shard, Shared};
use crate::status::Status;
use crate::trace::Traces;
use crate::{listen, tunnels};

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    housekeeping: Handle,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    addresses: Addresses,
    // None at level off, for which no folder is needed either.
    audit: Option<Arc<Audit>>,
    // Last: it writes what the others had to say.
    _logging: logging::Logging,
}

/// Where a gateway listens; real ports where 0 was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Tunnel door.
    pub tunnel: SocketAddr,
    /// HTTP door.
    pub http: Option<SocketAddr>,
    /// SOCKS5 door.
    pub socks5: Option<SocketAddr>,
    /// Admin endpoint.
    pub admin: Option<SocketAddr>,
}

/// Why a gateway did not start.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

struct ShardDoors {
    tunnel: TcpListener,
    http: Option<TcpListener>,
    socks5: Option<TcpListener>,
    receiver: Receiver<Message>,
}

impl Gateway {
    /// Opens the doors, begins to record and starts the threads.
    ///
    /// # Errors
    /// When an address is taken, the audit folder cannot be had, a driver cannot be had or a thread cannot be started.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let logging =
            logging::start(&settings.logging).map_err(|error| StartError(error.to_string()))?;
        adit_runtime::metrics::install().map_err(|error| StartError(error.to_string()))?;
        adit_runtime::metrics::describe(FAMILIES);
        let choice =
            shard::choose(std::env::var("ADITD_DRIVER").ok().as_deref()).map_err(StartError)?;
        let count = settings.shards;
        let bind = |door: &str, address: SocketAddr| {
            sockets::bind(address, count).map_err(|error| StartError(format!("{door}: {error}")))
        };
        let tunnel = bind("tunnel.listen", settings.tunnel)?;
        let http = settings.http.map(|a| bind("http.listen", a)).transpose()?;
        let socks5 = settings
            .socks5
            .map(|a| bind("socks5.listen", a))
            .transpose()?;
        let admin =
            Doors::open(&settings.admin).map_err(|error| StartError(format!("admin: {error}")))?;
        let local =
            |listeners: &Vec<TcpListener>| listeners.first().and_then(|l| l.local_addr().ok());
        let addresses = Addresses {
            tunnel: local(&tunnel).unwrap_or(settings.tunnel),
            http: http.as_ref().and_then(local),
            socks5: socks5.as_ref().and_then(local),
            admin: admin.address(),
        };

        let audit = (settings.audit.keeping.level > Level::Off)
            .then(|| {
                let name = name_of(&settings.tls, &settings.name);
                Audit::start(settings.audit, name, count).map(Arc::new)
            })
            .transpose()
            .map_err(|error| StartError(error.to_string()))?;

        let control = settings
            .control
            .map(|control| {
                let facts = Facts {
                    software: SOFTWARE.to_owned(),
                    instance: format!("{:032x}", fastrand::u128(..)),
                };
                Subscription::open(control, None, facts).map(Arc::new)
            })
            .transpose()
            .map_err(StartError)?;

        let mut mailboxes = Vec::with_capacity(count);
        let mut receivers = Vec::with_capacity(count);
        for _ in 0..count {
            let (sender, receiver) =
                mailbox(MAILBOX_MAX).map_err(|error| StartError(error.to_string()))?;
            mailboxes.push(sender);
            receivers.push(receiver);
        }
        let shared = Arc::new(Shared {
            name: settings.name,
            limits: settings.limits,
            mux: mux_settings(
                settings.streams_max,
                Arc::new(Budget::new(WINDOW_BUDGET_BYTES)),
            ),
            tls: ArcSwap::from_pointee(settings.tls),
            verifier: ArcSwap::from_pointee(settings.verifier),
            keys_version: AtomicU64::new(0),
            directory: Directory::default(),
            traces: Traces::new(mailboxes.len()),
            records: Records::new(audit.as_ref().map(|audit| audit.sink())),
            mailboxes,
            connections: AtomicUsize::new(0),
            drain: Drain::new(),
            drain_limit: settings.drain,
            journal: Arc::new(Journal::new()),
            choice: choice.clone(),
            trusted: ArcSwapOption::empty(),
            control,
        });

        let housekeeping =
            Housekeeping::start("housekeeping").map_err(|error| StartError(error.to_string()))?;
        let status = Arc::new(Status {
            shared: Arc::clone(&shared),
            audit: audit.clone(),
            doors: json!({
                "tunnel": addresses.tunnel.to_string(),
                "http": addresses.http.map(|a| a.to_string()),
                "socks5": addresses.socks5.map(|a| a.to_string()),
                "admin": addresses.admin.map(|a| a.to_string()),
            }),
            since_unix: clock::unix_now(),
        });
        if let Some(control) = shared.control.clone() {
            adit_runtime::metrics::describe(adit_subscription::metrics::FAMILIES);
            let subscribed = Subscribed {
                shared: Arc::clone(&shared),
                status: Arc::clone(&status),
            };
            drop(housekeeping.spawn(async move { control.run(&subscribed).await }));
        }
        drop(housekeeping.spawn(async move {
            if let Err(error) = admin.serve(status).await {
                tracing::error!(%error, "admin endpoint ended");
            }
        }));

        drop(housekeeping.spawn(follow_keys(Arc::clone(&shared), settings.keys)));

        let mut http = http.into_iter().flatten();
        let mut socks5 = socks5.into_iter().flatten();
        let mut threads = Vec::with_capacity(count);
        for (index, (tunnel, receiver)) in tunnel.into_iter().zip(receivers).enumerate() {
            let doors = ShardDoors {
                tunnel,
                http: http.next(),
                socks5: socks5.next(),
                receiver,
            };
            let shared = Arc::clone(&shared);
            let driver = choice.driver;
            let thread = shard::start(driver, index, move || {
                run_shard(index, shared, driver, doors)
            })
            .map_err(|error| StartError(format!("shard {index}: {error}")))?;
            threads.push(thread);
        }
        tracing::info!(
            tunnel = %addresses.tunnel, http = ?addresses.http, socks5 = ?addresses.socks5, admin = ?addresses.admin,
            shards = count, driver = %choice.driver, reason = %choice.reason, "gateway up"
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
        if let Some(audit) = &self.audit {
            audit.stop();
        }
        tracing::info!("gateway down");
        self.housekeeping.shutdown();
        code
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

// Of several gateways that were given no names, records shall not look alike.
fn name_of<'s>(tls: &'s adit_tls::ServerSettings, configured: &'s str) -> &'s str {
    match &tls.id().role {
        Role::Gateway { name } => name,
        Role::Agent { .. } | Role::Control { .. } => configured,
    }
}

// Takes new keys in when their file changes, so that an issuer may rotate without a restart. A file
// that cannot be used changes nothing but the journal.
async fn follow_keys(shared: Arc<Shared>, source: KeySource) {
    let stamp = |source: &KeySource| {
        std::fs::metadata(source.file())
            .and_then(|found| Ok((found.modified()?, found.len())))
            .ok()
    };
    let mut seen = stamp(&source);
    loop {
        tokio::time::sleep(KEYS_POLL).await;
        let now = stamp(&source);
        if now == seen || now.is_none() {
            continue;
        }
        seen = now;
        match source.load() {
            Ok(verifier) => {
                shared.verifier.store(Arc::new(verifier));
                shared.keys_version.fetch_add(1, Ordering::AcqRel);
                tracing::info!(file = %source.file().display(), "token keys changed");
            }
            Err(error) => {
                shared
                    .journal
                    .record("token-keys", &error, clock::unix_now());
                tracing::error!(file = %source.file().display(), error, "token keys not usable; the old ones stay");
            }
        }
    }
}

fn advance(shared: &Shared, phase: Phase) {
    shared.drain.advance(phase);
    for mailbox in &shared.mailboxes {
        // A shard that has ended needs no message.
        let _ = mailbox.send(Message::Drain);
    }
}

async fn run_shard(index: usize, shared: Arc<Shared>, driver: shard::Driver, doors: ShardDoors) {
    let shard = Rc::new(Shard::new(index, shared));
    let inbox = match doors.receiver.open() {
        Ok(inbox) => inbox,
        Err(error) => {
            tracing::error!(index, %error, "shard has no mailbox");
            return;
        }
    };
    match Listener::new(doors.tunnel, driver, Leg::Tunnel) {
        Ok(listener) => drop(monoio::spawn(tunnels::serve(Rc::clone(&shard), listener))),
        Err(error) => tracing::error!(index, %error, "tunnel door failed"),
    }
    for (door, listener) in [("http", doors.http), ("socks5", doors.socks5)] {
        match listener.map(|listener| Listener::new(listener, driver, Leg::Local)) {
            Some(Ok(listener)) if door == "http" => {
                drop(monoio::spawn(listen::http::serve(
                    Rc::clone(&shard),
                    listener,
                )));
            }
            Some(Ok(listener)) => drop(monoio::spawn(listen::socks5::serve(
                Rc::clone(&shard),
                listener,
            ))),
            Some(Err(error)) => tracing::error!(index, door, %error, "door failed"),
            None => {}
        }
    }
    shard.run(inbox).await;
}

/// Bytes by which the receive windows of all tunnels together may exceed their initial size.
const WINDOW_BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// How often the file of token keys is looked at.
const KEYS_POLL: Duration = Duration::from_secs(2);
/// Messages waiting for a shard; a moved connection with its head is about 5 KiB, so 40 MiB.
const MAILBOX_MAX: usize = 8192;

#[cfg(test)]
mod tests;
