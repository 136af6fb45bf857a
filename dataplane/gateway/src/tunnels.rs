//! The tunnel door: who may come in, and on which shard a tunnel lives.
//!
//! An agent is admitted for the subaccount in its certificate and for no other; what it says of
//! itself (location, instance, software) is taken as its own affair within that subaccount.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use adit_audit::{Text, TunnelEvent};
use adit_proto::hello::{Hello, Rejected, VERSION_OLDEST, Welcome, common_version};
use adit_proto::refusal::Refusal;
use adit_runtime::clock;
use adit_tls::{PeerIdentity, Role};
use adit_transport::accept::{self, AcceptError, Admitted};
use adit_transport::listen::Listener;
use adit_transport::socket::Leg;
use adit_transport::{Link, Socket};
use adit_tunnel::Error;

use crate::directory::{Entry, Registration};
use crate::expiry;
use crate::metrics::Counters;
use crate::records::Visitor;
use crate::shard::{Message, Shard};

/// Accepts tunnels until the drain begins.
pub(crate) async fn serve(shard: Rc<Shard>, listener: Listener) {
    let accepting = async {
        loop {
            let (socket, from) = listener
                .accept(|error| {
                    shard.counters.accept_trouble.increment(1);
                    tracing::warn!(%error, door = "tunnel", "accept failed");
                })
                .await;
            if shard.opening.get() >= OPENING_MAX {
                // Handshakes cost; a storm of strangers must not cost more than this many at once.
                shard.counters.shed.increment(1);
                continue;
            }
            // Counted here and not in the task: many may be accepted before the first of their tasks runs.
            shard.opening.set(shard.opening.get() + 1);
            let shard = Rc::clone(&shard);
            monoio::spawn(async move {
                admit(&shard, socket, from).await;
                shard.opening.set(shard.opening.get().saturating_sub(1));
            });
        }
    };
    adit_runtime::local::either(shard.draining.wait(), accepting).await;
}

async fn admit(shard: &Rc<Shard>, socket: Socket, from: SocketAddr) {
    let shared = &shard.shared;
    let mut placed = None;
    let mut visitor = Visitor::stranger(from);
    let tls = shared.tls.load_full();
    let opened = accept::open(
        &socket,
        &tls,
        shared.mux.clone(),
        shared.limits.handshake,
        |identity, hello| {
            visitor.known(identity, &hello.location);
            let (registration, welcome) = judge(shard, identity, hello, from)?;
            placed = Some(registration);
            Ok(welcome)
        },
    )
    .await;
    let (admitted, mut registration) = match (opened, placed) {
        (Ok(admitted), Some(registration)) => (admitted, registration),
        (Ok(_), None) => return,
        (Err(error), _) => {
            shard.counters.tunnels_failed.increment(1);
            // A scanner that connects and leaves is not worth an entry.
            if let Some(reason) = reason(&error) {
                refused(shard, &visitor, reason, &error.to_string());
            }
            tracing::info!(%from, %error, "tunnel refused");
            return;
        }
    };
    registration.suite = admitted.tunnel.peer().suite;
    let target = registration.shard;
    let entry = shared.directory.register(registration);
    // Those that were greeted at the same time did not see each other.
    let registered = shared.directory.of_agent(&entry.subaccount, &entry.agent);
    if registered > shared.limits.tunnels_per_agent_max {
        let refusal = Refusal::StreamsExhausted;
        lost(shard, &entry, &visitor, refusal, TOO_MANY_TUNNELS);
        return;
    }
    if target == shard.index {
        run(shard, socket, admitted, entry);
        return;
    }
    let detached = match socket.detach() {
        Ok(detached) => detached,
        Err(error) => {
            let words = format!("it could not be moved to its shard: {error}");
            lost(shard, &entry, &visitor, Refusal::Internal, &words);
            return;
        }
    };
    drop(socket);
    shard.counters.moved.increment(1);
    let message = Message::Tunnel {
        socket: detached,
        admitted: Box::new(admitted),
        entry: Arc::clone(&entry),
    };
    let sent = shared
        .mailboxes
        .get(target)
        .is_some_and(|mailbox| mailbox.send(message).is_ok());
    if !sent {
        let words = "it could not be moved to its shard: that takes no more, or has ended";
        lost(shard, &entry, &visitor, Refusal::Internal, words);
    }
}

fn judge(
    shard: &Shard,
    identity: &PeerIdentity,
    hello: &Hello,
    from: SocketAddr,
) -> Result<(Registration, Welcome), Rejected> {
    let shared = &shard.shared;
    let Role::Agent { subaccount, name } = &identity.id.role else {
        return Err(rejected(
            Refusal::ProtocolError,
            "the certificate is not an agent's; issue one with `adit pki issue agent`",
        ));
    };
    if !shared.drain.is_serving() {
        return Err(rejected(
            Refusal::Draining,
            "this gateway is shutting down; try another",
        ));
    }
    if let Err(refusal) = shared.records.may_admit() {
        return Err(rejected(
            refusal,
            "this gateway cannot record tunnels at the moment and admits none; its status says why",
        ));
    }
    let Some(version) = common_version(hello.version) else {
        return Err(Rejected {
            refusal: Refusal::VersionUnsupported,
            message: format!(
                "the agent speaks version {} of the tunnel protocol, this gateway {VERSION_OLDEST} or newer; update the agent",
                hello.version
            ),
        });
    };
    let shards = shared.mailboxes.len();
    if shared.directory.of_agent(subaccount, name) >= shared.limits.tunnels_per_agent_max {
        return Err(rejected(Refusal::StreamsExhausted, TOO_MANY_TUNNELS));
    }
    let target = shared
        .directory
        .place(subaccount, &hello.location, &hello.instance, shards);
    let registration = Registration {
        shard: target,
        subaccount: subaccount.clone(),
        location: hello.location.clone(),
        agent: name.clone(),
        instance: hello.instance,
        software: hello.software.clone(),
        peer: from.to_string(),
        // Known when the greeting is over.
        suite: "",
        since_unix: clock::unix_now(),
    };
    let welcome = Welcome {
        version,
        features: 0,
        gateway: shared.name.clone(),
        shard: u16::try_from(target).unwrap_or(u16::MAX),
        shards: u16::try_from(shards).unwrap_or(u16::MAX),
    };
    Ok((registration, welcome))
}

const TOO_MANY_TUNNELS: &str =
    "this agent has as many tunnels as this gateway allows; see tunnels_per_agent_max";

// One word for why there is no tunnel; none for whoever came and left.
fn reason(error: &AcceptError) -> Option<&'static str> {
    match error {
        AcceptError::Io(_) => None,
        AcceptError::TooSlow => Some("too-slow"),
        AcceptError::Opening(Error::Tls(adit_tls::Error::Identity(_))) => Some("identity"),
        AcceptError::Opening(Error::Tls(_)) => Some("tls"),
        AcceptError::Opening(Error::Hello(_)) => Some("hello"),
        AcceptError::Rejected(rejected) => Some(rejected.refusal.reason()),
        AcceptError::Opening(_) | _ => Some(Refusal::Internal.reason()),
    }
}

fn rejected(refusal: Refusal, message: &str) -> Rejected {
    Rejected {
        refusal,
        message: message.to_owned(),
    }
}

/// A tunnel that another shard admitted for this one.
pub(crate) fn adopt(
    shard: &Rc<Shard>,
    socket: std::net::TcpStream,
    admitted: Admitted,
    entry: Arc<Entry>,
) {
    match Socket::from_std(socket, Leg::Tunnel) {
        Ok(socket) => run(shard, socket, admitted, entry),
        Err(error) => {
            let visitor = visitor(&entry, &admitted.tunnel.peer().identity);
            let words = format!("its shard could not take it: {error}");
            lost(shard, &entry, &visitor, Refusal::Internal, &words);
        }
    }
}

// An agent as it was when it was admitted.
fn visitor(entry: &Entry, identity: &PeerIdentity) -> Visitor {
    let mut visitor = Visitor {
        from: entry.peer.clone(),
        location: None,
        certificate: None,
    };
    visitor.known(identity, &entry.location);
    visitor
}

// It was welcomed, and is not kept all the same. Its agent sees a tunnel that ends at once, and here it shall be found why.
fn lost(shard: &Shard, entry: &Arc<Entry>, visitor: &Visitor, refusal: Refusal, words: &str) {
    shard.shared.directory.remove(entry, clock::now());
    shard.counters.tunnels_failed.increment(1);
    refused(shard, visitor, refusal.reason(), words);
    tracing::warn!(from = %visitor.from, agent = %entry.agent, "tunnel refused: {words}");
}

fn refused(shard: &Shard, visitor: &Visitor, reason: &str, words: &str) {
    let shared = &shard.shared;
    let event = TunnelEvent::Refused {
        reason: Text::of(reason),
        words: Text::of(words),
    };
    shared.records.tunnel(visitor, None, event);
    let what = format!("{}: {words}", visitor.from);
    shared
        .journal
        .record("tunnel-refused", &what, clock::unix_now());
}

fn run(shard: &Rc<Shard>, socket: Socket, admitted: Admitted, entry: Arc<Entry>) {
    let link = Link::start(admitted.tunnel, socket, admitted.leftover);
    shard.links.borrow_mut().insert(entry.id, Rc::clone(&link));
    expiry::check(shard, &link);
    entry.run();
    shard.counters.tunnels.increment(1.0);
    shard.counters.tunnels_opened.increment(1);
    tracing::info!(
        tunnel = entry.id, agent = %entry.agent, subaccount = %entry.subaccount, location = %entry.location,
        from = %entry.peer, shard = shard.index, "tunnel up"
    );
    let visitor = visitor(&entry, &link.peer().identity);
    let records = &shard.shared.records;
    records.tunnel(&visitor, Some(entry.id), TunnelEvent::Up);
    let shard = Rc::clone(shard);
    monoio::spawn(async move {
        let ending = {
            let watch = async {
                // An agent that drains says go-away; from then on it gets no new streams.
                loop {
                    if !link.is_open() {
                        shard.shared.directory.close(&entry, clock::now());
                        return link.ended().await;
                    }
                    link.changed().await;
                }
            };
            watch.await
        };
        shard.links.borrow_mut().remove(&entry.id);
        shard.shared.directory.remove(&entry, clock::now());
        shard.counters.tunnels.decrement(1.0);
        Counters::tunnel_ended(ending.reason());
        shard.shared.journal.record(
            "tunnel-ended",
            &format!("{} of {}: {ending}", entry.agent, entry.subaccount),
            clock::unix_now(),
        );
        // Whoever looks for a stolen key asks for this, and not for who closed the socket.
        let how = if expiry::is_revoked(&shard, &link) {
            "revoked"
        } else {
            ending.reason()
        };
        let event = TunnelEvent::Ended { how: Text::of(how) };
        shard.shared.records.tunnel(&visitor, Some(entry.id), event);
        tracing::info!(tunnel = entry.id, agent = %entry.agent, %ending, "tunnel down");
    });
}

/// Handshakes under way on one shard; about 150 KiB each at worst, so 150 MiB.
const OPENING_MAX: usize = 1024;
