//! Which node a subscription is of, what it shall have, and when it ends: whatever the node says.

use adit_proto::control::{Ack, InForce};
use adit_store::{Revision, Txn};

use super::*;

/// What is said to a node, of what has been queued until now.
fn said(events: &mut mpsc::Receiver<Bytes>) -> Vec<Event> {
    let mut said = Vec::new();
    while let Ok(frame) = events.try_recv() {
        said.extend(Event::decode(&frame).unwrap().unwrap().0);
    }
    said
}

fn goodbye(events: &mut mpsc::Receiver<Bytes>) -> Option<Goodbye> {
    let last = said(events).pop();
    match last {
        Some(Event::Goodbye(goodbye)) => Some(goodbye),
        _ => None,
    }
}

fn another() -> Hello {
    Hello {
        instance: "1".repeat(32),
        ..hello("adit test")
    }
}

fn document(version: u64) -> Pushed {
    Pushed {
        version,
        sha256: format!("{version:064}"),
        frame: Bytes::new(),
    }
}

fn refusal(of: &Pushed) -> Nack {
    Nack {
        document_sha256: of.sha256.clone(),
        why: "rules".to_owned(),
        problems: Vec::new(),
    }
}

async fn alarms(world: &World) -> usize {
    let is_one = |act: &adit_api::Act| act.verb == "node-used-twice";
    let acts = world.parts.acts.list(0, 100, is_one).await.unwrap();
    acts.0.len()
}

#[tokio::test]
async fn a_node_says_where_it_was_invited_for_and_who_it_is_in_full() {
    let world = World::new(1).await;
    let peer = world.agent("berlin-1").await;
    let elsewhere = Hello {
        location: "elsewhere".to_owned(),
        ..hello("adit test")
    };
    let refused = world.subscribe(peer.clone(), elsewhere).await;
    assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
    for instance in [
        "0".repeat(31),
        "0".repeat(33),
        format!("{}g", "0".repeat(31)),
        format!("{}\u{e4}", "0".repeat(30)),
    ] {
        let odd = Hello {
            instance,
            ..hello("adit test")
        };
        let refused = world.subscribe(peer.clone(), odd).await;
        assert!(matches!(refused, Err(Trouble::Invalid(_))), "{refused:?}");
    }
    let unknown = Peer {
        serial: "00".to_owned(),
        ..peer.clone()
    };
    let refused = world.subscribe(unknown, hello("adit test")).await;
    assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
    assert_eq!(world.hub().connected(), 0);
    let (subscription, _events) = world.subscribe(peer.clone(), hello("a 1")).await.unwrap();
    let named = |name: &str| world.hub().subscription(&peer.id, name).is_some();
    assert!(named(&subscription.id) && !named("another") && !named(""));
}

#[tokio::test]
async fn s12_a_second_process_is_refused_and_told_of_once_a_minute_wherever_the_first_is() {
    let world = World::new(1).await;
    let peer = world.agent("berlin-1").await;
    let first = world.subscribe(peer.clone(), hello("adit test")).await;
    let (first, mut events) = first.unwrap();
    for _ in 0..3 {
        let refused = world.subscribe(peer.clone(), another()).await;
        assert!(matches!(refused, Err(Trouble::Conflict(_))), "{refused:?}");
    }
    assert_eq!(alarms(&world).await, 1);
    assert!(!first.is_ended());
    // The same process takes its own place.
    let again = world.subscribe(peer.clone(), hello("adit test")).await;
    let (again, _events) = again.unwrap();
    assert!(first.is_ended() && goodbye(&mut events).unwrap().come_back);
    // The end of the first one is not the end of the one in its place.
    world.hub().gone(&first);
    assert_eq!(world.hub().connected(), 1);
    world.hub().gone(&again);
    assert_eq!(world.hub().connected(), 0);

    let elsewhere = Live {
        server: "cp-2".to_owned(),
        subscription: "there".to_owned(),
        instance: "0".repeat(32),
        since_unix_s: 0,
        software: String::new(),
        running: None,
        refused: None,
        not_ready: Vec::new(),
        problems: Vec::new(),
        tunnels: 0,
        streams: 0,
    };
    let txn = Txn::new().put(keys::live(&peer.id), keys::write(&elsewhere));
    world.parts.store.commit(&txn).await.unwrap();
    let refused = world.subscribe(peer.clone(), another()).await;
    assert!(matches!(refused, Err(Trouble::Conflict(_))), "{refused:?}");
    world.subscribe(peer, hello("adit test")).await.unwrap();
}

#[tokio::test]
async fn a_revoked_node_hears_that_it_need_not_come_back_and_the_others_hear_its_number() {
    let world = World::new(1).await;
    let (revoked, mut events) = world.subscribed("berlin-1").await;
    let (other, mut others) = world.subscribed("berlin-2").await;
    said(&mut others);
    let register = &world.parts.register;
    register
        .revoke(&test_world::ada(), &revoked.node)
        .await
        .unwrap();
    // It was on its way in, and was admitted before.
    let begun = world.hub().begin(&revoked).await;
    assert!(matches!(begun, Err(Trouble::Denied(_))), "{begun:?}");
    let trust = world.parts.life.trust().await.unwrap();
    world.hub().tell_trust(&trust);
    assert!(revoked.is_ended() && !other.is_ended());
    assert!(!goodbye(&mut events).unwrap().come_back);
    assert_eq!(world.hub().connected(), 1);
    let heard = said(&mut others);
    assert!(
        matches!(heard.as_slice(), [Event::Trust(trust)] if trust.revoked == [revoked.serial.clone()]),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_line_lives_as_long_as_the_certificate_that_it_rests_on_and_not_a_second_longer() {
    let world = World::new(1).await;
    let (subscription, mut events) = world.subscribed("berlin-1").await;
    pause();
    let hub = Arc::clone(world.hub());
    let beating = tokio::spawn(async move { hub.beat().await });
    for (second, lives) in [
        (subscription.until_unix_s, true),
        (subscription.until_unix_s + 1, false),
    ] {
        clock::stop_at(second);
        advance(Duration::from_secs(BEAT_SECONDS)).await;
        tokio::task::yield_now().await;
        assert_eq!(!subscription.is_ended(), lives);
        assert_eq!(world.hub().connected(), usize::from(lives));
    }
    // With the next certificate it may.
    assert!(goodbye(&mut events).unwrap().come_back);
    beating.abort();
}

#[tokio::test]
async fn rules_of_another_epoch_or_of_nobody_are_not_those_that_a_node_shall_have() {
    let world = World::new(1).await;
    for (number, epoch, needs_first) in [(1, Some(1), false), (2, Some(2), true), (3, None, true)] {
        let peer = world.agent(&format!("berlin-{number}")).await;
        let runs = Hello {
            in_force: Some(InForce {
                epoch,
                version: 3,
                sha256: String::new(),
            }),
            ..hello("adit test")
        };
        let (subscription, _events) = world.subscribe(peer, runs).await.unwrap();
        assert_eq!(subscription.needs(1, 3), needs_first, "{epoch:?}");
        assert!(subscription.needs(1, 4), "{epoch:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_of_the_document_that_was_refused_until_another_is_in_force() {
    let world = World::new(1).await;
    let (subscription, _events) = world.subscribed("berlin-1").await;
    let (one, two) = (document(1), document(2));
    assert!(subscription.push(1, &one) && subscription.push(1, &two));
    assert!(!subscription.push(1, &one), "what is older does not follow");
    subscription.nacked(refusal(&one));
    assert_eq!(subscription.state().refused.unwrap().version, 1);
    subscription.nacked(refusal(&document(9)));
    assert_eq!(subscription.state().refused.unwrap().version, 0);
    let in_force = InForce {
        epoch: Some(1),
        version: 2,
        sha256: "s".repeat(LINE_BYTES_KEPT + 1),
    };
    subscription.acked(&Ack {
        in_force,
        systems: 0,
        resources: 0,
    });
    let state = subscription.state();
    assert_eq!(state.refused, None);
    // A digest is shorter, whatever a node calls one.
    let running = state.running.unwrap();
    assert_eq!(
        (running.version, running.sha256.len()),
        (2, LINE_BYTES_KEPT)
    );
}

#[tokio::test]
async fn with_another_key_to_sign_all_is_read_anew_and_what_was_refused_is_sent_again() {
    let world = World::new(1).await;
    let (subscription, _events) = world.subscribed("berlin-1").await;
    let place = subscription.place.clone().unwrap();
    let read = async |sha256: &str| {
        let load = async || {
            Ok(Pushed {
                sha256: sha256.to_owned(),
                ..document(1)
            })
        };
        let found = world.hub().frames.get(&place, 1, load).await;
        found.unwrap().sha256
    };
    assert_eq!(read("of the old key").await, "of the old key");
    assert_eq!(read("of the new key").await, "of the old key");
    assert!(subscription.push(1, &document(1)));
    subscription.nacked(refusal(&document(1)));
    assert!(!subscription.needs(1, 1));
    world.hub().sign_anew();
    assert!(subscription.needs(1, 1));
    assert_eq!(read("of the new key").await, "of the new key");
}

#[tokio::test]
async fn what_another_server_says_of_a_node_is_not_taken_away_with_what_was_said_here() {
    let world = World::new(1).await;
    let (moved, _events) = world.subscribed("berlin-1").await;
    let (stays, _too) = world.subscribed("berlin-2").await;
    let store = Arc::clone(&world.parts.store);
    let prefix = adit_store::Prefix::new("live/").unwrap();
    let mut watch = store.watch(&prefix, Revision::ZERO).await.unwrap();
    let hub = Arc::clone(world.hub());
    let telling = tokio::spawn(async move { hub.live.run().await });
    let found = async |id: &NodeId| world.hub().connection(id).await.unwrap();
    while found(&moved.node).await.is_none() || found(&stays.node).await.is_none() {
        watch.next().await.unwrap();
    }
    let there = Live {
        server: "cp-2".to_owned(),
        subscription: "there".to_owned(),
        ..found(&moved.node).await.unwrap()
    };
    let txn = Txn::new().put(keys::live(&moved.node), keys::write(&there));
    store.commit(&txn).await.unwrap();
    world.hub().gone(&moved);
    stays.beaten(Beat {
        tunnels: 7,
        ..Beat::default()
    });
    world.hub().changed(&stays);
    while found(&stays.node).await.unwrap().tunnels != 7 {
        watch.next().await.unwrap();
    }
    assert_eq!(found(&moved.node).await, Some(there));
    // A word that comes late brings nothing back.
    world.hub().changed(&moved);
    telling.abort();
}
