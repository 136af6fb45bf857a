//! The SOCKS5 door: opaque conversations for any SOCKS client (RFC 1928), with a token.
//!
//! Method 0x80 carries a JWT and a location, as SAP's clients send it; method 0x02 (RFC 1929) takes
//! the location as user name and the token as password, so that curl, psql and the rest work.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use adit_proto::connect::{Protocol, RequestId};
use adit_proto::refusal::Refusal;
use adit_proto::socks5::{Negotiation, Step};
use adit_relay::gather;
use adit_runtime::local::either;
use adit_token::Caller;
use adit_transport::listen::Listener;
use adit_transport::socket::Leg;
use adit_transport::{Link, Socket, Watched, Wire};

use crate::authenticate;
use crate::directory::Entry;
use crate::door::{self, Conversation, Route, Unbegun};
use crate::metrics::Counters;
use crate::shard::{Message, Shard, SocksAsked};
use crate::trace::{Outcome, Steps, Wanted};

/// Accepts connections until the drain begins.
pub(crate) async fn serve(shard: Rc<Shard>, listener: Listener) {
    let accepting = async {
        loop {
            let (socket, peer) = listener
                .accept(|error| {
                    shard.counters.accept_trouble.increment(1);
                    tracing::warn!(%error, door = "socks5", "accept failed");
                })
                .await;
            let Some(held) = shard.hold() else {
                continue;
            };
            let shard = Rc::clone(&shard);
            let wire = Watched::new(socket);
            monoio::spawn(async move {
                shard.counters.socks_connections.increment(1.0);
                // Held only while it lasts.
                let asked = Box::pin(converse(&shard, &wire, peer)).await;
                if let Some(mut conversation) = asked {
                    conversation.carry(&wire).await;
                }
                shard.counters.socks_connections.decrement(1.0);
                drop(held);
            });
        }
    };
    either(shard.draining.wait(), accepting).await;
}

/// A conversation that another shard negotiated.
pub(crate) fn adopt(shard: &Rc<Shard>, socket: std::net::TcpStream, asked: SocksAsked) {
    let (Ok(socket), Some(held)) = (Socket::from_std(socket, Leg::Local), shard.hold()) else {
        unserved(shard, &asked);
        return;
    };
    let shard = Rc::clone(shard);
    let wire = Watched::new(socket);
    monoio::spawn(async move {
        shard.counters.socks_connections.increment(1.0);
        let asked = Box::pin(open(&shard, &wire, asked, true)).await;
        if let Some(mut conversation) = asked {
            conversation.carry(&wire).await;
        }
        shard.counters.socks_connections.decrement(1.0);
        drop(held);
    });
}

async fn converse(
    shard: &Rc<Shard>,
    wire: &Watched,
    from: SocketAddr,
) -> Option<Box<Conversation>> {
    let negotiation =
        adit_runtime::timer::timeout(shard.shared.limits.socks, negotiate(shard, wire, from));
    // Told already, or too slow to be told anything.
    let Ok(Some(asked)) = negotiation.await else {
        return None;
    };
    open(shard, wire, asked, false).await
}

// The negotiation up to the request; `None` when the client was sent away.
async fn negotiate(shard: &Rc<Shard>, wire: &Watched, from: SocketAddr) -> Option<SocksAsked> {
    let mut machine = Negotiation::new();
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut who: Option<(Arc<Caller>, String)> = None;
    loop {
        let (used, step) = match machine.advance(&input, &mut output) {
            Ok(done) => done,
            Err(error) => {
                turned_away(shard, from, who.as_ref(), error.refusal());
                tracing::debug!(%error, "socks negotiation refused");
                send_off(wire, &output).await;
                return None;
            }
        };
        input.drain(..used.min(input.len()));
        match step {
            Step::More => {
                if !output.is_empty() {
                    wire.write_all(&output).await.ok()?;
                    output.clear();
                }
                if used == 0 && gather::read_more(wire, &mut input).await.ok()? == 0 {
                    return None;
                }
            }
            Step::Authenticate(credentials) => {
                let token = std::str::from_utf8(&credentials.token).unwrap_or_default();
                let caller = authenticate::caller(shard, token);
                machine.authenticated(caller.is_ok(), &mut output);
                match caller {
                    Ok(caller) => who = Some((caller, credentials.location)),
                    Err(refusal) => {
                        turned_away(shard, from, None, refusal);
                        send_off(wire, &output).await;
                        return None;
                    }
                }
                wire.write_all(&output).await.ok()?;
                output.clear();
            }
            Step::Connect { host, port } => {
                let (caller, location) = who?;
                return Some(SocksAsked {
                    from,
                    caller,
                    location,
                    host,
                    port,
                    early: input,
                });
            }
        }
    }
}

// Before it was said, or could be read, what was wanted.
fn turned_away(
    shard: &Shard,
    from: SocketAddr,
    who: Option<&(Arc<Caller>, String)>,
    refusal: Refusal,
) {
    shard.counters.refused(refusal);
    let steps = Steps::begin();
    if let Some((caller, _)) = who {
        steps.called_by(caller);
    }
    let wanted = Wanted {
        door: DOOR,
        from: Some(from),
        method: "",
        host: "",
        port: 0,
        path: "",
        location: who.map_or("", |(_, location)| location),
    };
    let outcome = Outcome::Refused(refusal);
    shard.ended(door::request_id(), &steps, &wanted, outcome);
}

// The last word, and then the end of our direction, so that it is read before the close.
async fn send_off(wire: &Watched, output: &[u8]) {
    let _ = wire.write_all(output).await;
    let _ = wire.finish().await;
}

// Opens what was asked for; `None` when the client was sent away, or moved.
async fn open(
    shard: &Rc<Shard>,
    wire: &Watched,
    asked: SocksAsked,
    moved: bool,
) -> Option<Box<Conversation>> {
    let id = door::request_id();
    let steps = Steps::begin();
    steps.called_by(&asked.caller);
    let subaccount = &asked.caller.subaccount;
    let route = match shard.shared.records.may_pass() {
        Ok(()) => Ok(door::route_or_wait(shard, subaccount, &asked.location, moved, None).await),
        Err(refusal) => Err(refusal),
    };
    let begun = match route {
        Err(refusal) => Err(refusal.into()),
        Ok(Route::Here(link, entry)) => {
            steps.routed_to(&entry);
            begin(shard, &link, &entry, &asked, (id, &steps), wire).await
        }
        Ok(Route::Shard(target)) => {
            hand_over(shard, wire, target, Box::new(asked));
            return None;
        }
        Ok(Route::Nowhere) => Err(Refusal::NoAgent.into()),
    };
    let ended = |outcome| shard.ended(id, &steps, &wanted(&asked), outcome);
    let mut reply = Vec::with_capacity(16);
    let (conversation, early) = match begun {
        Ok(begun) => begun,
        Err(Unbegun::Gone) => {
            ended(Outcome::BrokenOff);
            return None;
        }
        Err(Unbegun::Refused(refusal)) => {
            tracing::debug!(%id, reason = refusal.reason(), "socks conversation refused");
            shard.counters.refused(refusal);
            ended(Outcome::Refused(refusal));
            adit_proto::socks5::write_reply(refusal.socks_reply(), &mut reply);
            send_off(wire, &reply).await;
            return None;
        }
    };
    steps.answered(0);
    adit_proto::socks5::write_reply(0, &mut reply);
    reply.extend_from_slice(&early);
    if wire.write_all(&reply).await.is_err() {
        ended(Outcome::BrokenOff);
        conversation.opened.stream.reset();
        return None;
    }
    ended(steps.outcome());
    Counters::opaque("socks5");
    Some(conversation)
}

// What cannot be handed over ends here.
fn hand_over(shard: &Shard, wire: &Watched, target: usize, asked: Box<SocksAsked>) {
    let mailbox = shard.shared.mailboxes.get(target);
    let (Ok(socket), Some(mailbox)) = (wire.socket().detach(), mailbox) else {
        unserved(shard, &asked);
        return;
    };
    shard.counters.moved.increment(1);
    // A full mailbox closes the connection: the other shard has more than it can do.
    if let Err(Message::Socks { asked, .. }) = mailbox.send(Message::Socks { socket, asked }) {
        unserved(shard, &asked);
    }
}

// Its caller was let in, and now there is no place for it: it ends without an answer, and not without a record.
fn unserved(shard: &Shard, asked: &SocksAsked) {
    let steps = Steps::begin();
    steps.called_by(&asked.caller);
    let id = door::request_id();
    shard.ended(id, &steps, &wanted(asked), Outcome::BrokenOff);
}

async fn begin(
    shard: &Rc<Shard>,
    link: &Rc<Link>,
    entry: &Arc<Entry>,
    asked: &SocksAsked,
    (id, steps): (RequestId, &Steps),
    wire: &Watched,
) -> Result<(Box<Conversation>, Vec<u8>), Unbegun> {
    let mut front = Vec::with_capacity(256);
    door::encode(
        &mut front,
        Protocol::Tcp,
        &asked.host,
        asked.port,
        &asked.caller,
        None,
        id,
    )?;
    front.extend_from_slice(&asked.early);
    door::converse(shard, (link, entry), &front, steps, wire).await
}

fn wanted(asked: &SocksAsked) -> Wanted<'_> {
    Wanted {
        door: DOOR,
        from: Some(asked.from),
        method: "",
        host: &asked.host,
        port: asked.port,
        path: "",
        location: &asked.location,
    }
}

/// How `why` calls it.
const DOOR: &str = "socks5";
