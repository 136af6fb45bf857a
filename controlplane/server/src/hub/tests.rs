//! The hub at its limits: what a node may leave unread, unanswered and unsaid.

use std::time::Duration;

use adit_proto::control::{Answer, Ask, Beat, Event, Nack};
use tokio::time::{Instant, advance, pause, timeout};

use super::test_world::{World, hello, question};
use super::*;
use crate::limits::{
    AGAIN_AFTER, AGAIN_AFTER_MAX, ANSWER_LIMIT, ASKS_MAX, LINE_BYTES_KEPT, LINES_KEPT, LIVE_TTL,
};

mod newer;
mod nodes;

const MOMENT: Duration = Duration::from_millis(50);

fn ask() -> Ask {
    Ask {
        ask: String::new(),
        method: "GET".to_owned(),
        path: "/status".to_owned(),
        query: String::new(),
        body: String::new(),
    }
}

fn answer() -> Answer {
    Answer {
        status: 200,
        body: "well".to_owned(),
    }
}

#[tokio::test]
async fn a_node_may_leave_so_many_events_unread_and_with_one_more_its_subscription_ends() {
    let world = World::new(1).await;
    let (subscription, events) = world.subscribed("berlin-1").await;
    for _ in events.len()..EVENTS_WAITING_MAX {
        subscription.send(&Event::Beat);
    }
    assert_eq!(events.len(), EVENTS_WAITING_MAX);
    assert!(!subscription.is_ended());
    subscription.send(&Event::Beat);
    assert!(subscription.is_ended());
    assert_eq!(events.len(), EVENTS_WAITING_MAX);
}

#[tokio::test]
async fn so_many_questions_wait_for_a_node_and_one_more_is_refused_until_one_is_given_up() {
    let world = World::new(1).await;
    let (subscription, mut events) = world.subscribed("berlin-1").await;
    let mut waiting = Vec::new();
    for _ in 0..ASKS_MAX {
        waiting.push(subscription.ask(ask()).unwrap());
        question(&mut events).await;
    }
    let refused = subscription.ask(ask()).unwrap_err();
    assert!(matches!(refused, Trouble::NodeSilent(_)), "{refused:?}");
    waiting.pop();
    let last = subscription.ask(ask()).unwrap();
    let asked = question(&mut events).await;
    assert!(subscription.answered(&asked.ask, answer()));
    assert_eq!(last.await.unwrap(), answer());
    assert!(!subscription.is_ended());
}

#[tokio::test]
async fn an_answer_counts_until_its_time_is_over() {
    let world = World::new(1).await;
    let (subscription, mut events) = world.subscribed("berlin-1").await;
    let (hub, id) = (Arc::clone(world.hub()), subscription.node.clone());
    pause();
    let asking = tokio::spawn(async move { hub.ask(&id, ask()).await });
    let asked = question(&mut events).await;
    advance(ANSWER_LIMIT - MOMENT).await;
    assert!(subscription.answered(&asked.ask, answer()));
    assert_eq!(asking.await.unwrap().unwrap(), answer());

    let begun = Instant::now();
    let silent = world.hub().ask(&subscription.node, ask()).await;
    assert!(matches!(silent, Err(Trouble::NodeSilent(_))), "{silent:?}");
    let took = begun.elapsed();
    assert!((ANSWER_LIMIT..ANSWER_LIMIT + MOMENT).contains(&took));
    let asked = question(&mut events).await;
    assert!(!subscription.answered(&asked.ask, answer()), "too late");
}

#[tokio::test]
async fn a_node_counts_as_alive_until_it_was_silent_for_too_long() {
    let world = World::new(1).await;
    let (subscription, _events) = world.subscribed("berlin-1").await;
    let (talking, _too) = world.subscribed("berlin-2").await;
    pause();
    subscription.beaten(Beat::default());
    let hub = Arc::clone(world.hub());
    let beating = tokio::spawn(async move { hub.beat().await });
    let begun = Instant::now();
    advance(SILENCE_LIMIT).await;
    tokio::task::yield_now().await;
    assert!(subscription.is_alive());
    assert_eq!(world.hub().connected(), 2);
    talking.beaten(Beat::default());
    advance(Duration::from_millis(1)).await;
    assert!(!subscription.is_alive());
    assert!(talking.is_alive());
    // At the next beat.
    advance(Duration::from_secs(BEAT_SECONDS)).await;
    tokio::task::yield_now().await;
    assert!(subscription.is_ended());
    assert!(!talking.is_ended());
    assert_eq!(world.hub().connected(), 1);
    assert!(begun.elapsed() < SILENCE_LIMIT + Duration::from_secs(2 * BEAT_SECONDS));
    beating.abort();
}

#[tokio::test]
async fn what_a_server_says_is_there_while_it_lives_and_outlives_it_by_so_much() {
    let world = World::new(1).await;
    let (subscription, events) = world.subscribed("berlin-1").await;
    let store = Arc::clone(&world.parts.store);
    let prefix = adit_store::Prefix::new("live/").unwrap();
    let mut watch = store
        .watch(&prefix, adit_store::Revision::ZERO)
        .await
        .unwrap();
    pause();
    let hub = Arc::clone(world.hub());
    let telling = tokio::spawn(async move { hub.live.run().await });
    while world
        .hub()
        .connection(&subscription.node)
        .await
        .unwrap()
        .is_none()
    {
        watch.next().await.unwrap();
    }
    let gone = async {
        loop {
            let changes = watch.next().await.unwrap();
            let deleted = |change: &adit_store::Change| change.kind == adit_store::Kind::Deleted;
            if changes.changes.iter().any(deleted) {
                return;
            }
        }
    };
    tokio::pin!(gone);
    // Three lives long nothing ends.
    assert!(timeout(LIVE_TTL * 3, gone.as_mut()).await.is_err());
    telling.abort();
    let ended = Instant::now();
    // It was kept alive a third of its time ago at most.
    assert!(
        timeout(LIVE_TTL * 2 / 3 - MOMENT, gone.as_mut())
            .await
            .is_err()
    );
    timeout(LIVE_TTL, gone.as_mut()).await.unwrap();
    assert!(ended.elapsed() <= LIVE_TTL + MOMENT);
    let known = world.hub().connection(&subscription.node).await.unwrap();
    assert_eq!(known, None);
    drop(events);
}

#[tokio::test]
async fn the_name_of_a_program_has_so_many_bytes_and_not_one_more() {
    let world = World::new(1).await;
    let peer = world.agent("berlin-1").await;
    let longest = "s".repeat(SOFTWARE_BYTES_MAX);
    let refused = world
        .subscribe(peer.clone(), hello(&format!("{longest}s")))
        .await;
    assert!(matches!(refused, Err(Trouble::Invalid(_))), "{refused:?}");
    assert_eq!(world.hub().connected(), 0);
    let (subscription, _events) = world.subscribe(peer, hello(&longest)).await.unwrap();
    assert_eq!(subscription.hello.software, longest);
}

#[tokio::test]
async fn what_was_refused_for_want_of_room_is_sent_again_after_a_while_and_what_is_wrong_is_not() {
    let world = World::new(1).await;
    let (subscription, _events) = world.subscribed("berlin-1").await;
    let pushed = Pushed {
        version: 1,
        sha256: "of the document".to_owned(),
        frame: Bytes::new(),
    };
    assert!(subscription.push(1, &pushed));
    let refuse = |why: &str| {
        assert!(!subscription.needs(1, 1));
        subscription.nacked(Nack {
            document_sha256: pushed.sha256.clone(),
            why: why.to_owned(),
            problems: Vec::new(),
        });
        Instant::now()
    };
    pause();
    let just = Duration::from_millis(1);
    let mut wait = AGAIN_AFTER;
    for _ in 0..8 {
        let refused = refuse("store");
        assert!(!subscription.tries_again(refused + wait - just));
        assert!(!subscription.needs(1, 1));
        assert!(subscription.tries_again(refused + wait));
        assert!(!subscription.tries_again(refused + wait), "once");
        assert!(subscription.needs(1, 1));
        assert_eq!(subscription.state().refused.unwrap().version, 1);
        // Until the node has said something of it, it is not sent a third time.
        assert!(subscription.push(1, &pushed));
        assert!(!subscription.tries_again(refused + 2 * AGAIN_AFTER_MAX));
        wait = (wait * 2).min(AGAIN_AFTER_MAX);
    }
    assert_eq!(wait, AGAIN_AFTER_MAX);
    let refused = refuse("rules");
    assert!(!subscription.tries_again(refused + 2 * AGAIN_AFTER_MAX));
    assert!(!subscription.needs(1, 1));
}

#[tokio::test]
async fn so_many_lines_of_so_many_bytes_are_kept_of_what_a_node_says() {
    let world = World::new(1).await;
    let (subscription, _events) = world.subscribed("berlin-1").await;
    let line = "l".repeat(LINE_BYTES_KEPT);
    let fits = vec![line.clone(); LINES_KEPT];
    let mut more = vec![format!("{line}l"); LINES_KEPT];
    more.push("one more".to_owned());
    for said in [fits.clone(), more] {
        subscription.nacked(Nack {
            document_sha256: String::new(),
            why: said[0].clone(),
            problems: said.clone(),
        });
        subscription.beaten(Beat {
            not_ready: said,
            ..Beat::default()
        });
        let state = subscription.state();
        let refused = state.refused.unwrap();
        assert_eq!(refused.why, line);
        assert_eq!(refused.problems, fits);
        assert_eq!(state.beat.not_ready, fits);
    }
    // A letter of two bytes across the border is left out whole.
    let across = format!("{}\u{e4}", "l".repeat(LINE_BYTES_KEPT - 1));
    subscription.beaten(Beat {
        not_ready: vec![across],
        ..Beat::default()
    });
    let kept = subscription.state().beat.not_ready;
    assert_eq!(kept, ["l".repeat(LINE_BYTES_KEPT - 1)]);
}

#[test]
fn r15_a_node_of_another_version_is_met_in_the_format_of_both_or_told_what_it_lacks() {
    let of = |format: u16, features: &[&str]| Hello {
        format,
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        ..hello("a 1")
    };
    assert_eq!(check_hello(&of(1, &[]), &[]).unwrap(), 1);
    assert_eq!(check_hello(&of(2, &["later"]), &[]).unwrap(), 1);
    let why = check_hello(&of(0, &[]), &[]).unwrap_err();
    assert!(format!("{why:?}").contains("update the node"), "{why:?}");
    assert_eq!(
        check_hello(&of(1, &["needed", "later"]), &["needed"]).unwrap(),
        1
    );
    let why = check_hello(&of(1, &["later"]), &["needed"]).unwrap_err();
    assert!(format!("{why:?}").contains("`needed`"), "{why:?}");
}

#[test]
fn r15_what_a_server_of_the_first_version_wrote_of_a_node_is_read() {
    let first =
        br#"{"server":"cp-1","subscription":"s","instance":"i","since_unix_s":1,"software":"a 1",
        "running":null,"refused":null,"not_ready":[],"tunnels":2,"streams":3}"#;
    let live: Live = serde_json::from_slice(first).unwrap();
    assert_eq!((live.tunnels, live.problems.len()), (2, 0));
    let later = std::str::from_utf8(first)
        .unwrap()
        .replacen('{', r#"{"later":1,"#, 1);
    assert_eq!(serde_json::from_str::<Live>(&later).unwrap(), live);
}
