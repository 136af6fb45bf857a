//! The limits that no other test goes to.

use std::time::Duration;

use adit_transport::backoff::Backoff;

use super::authority::Authority;
use super::server::Server;
use super::world::{Node, Recorder, run};
use crate::limits::{
    ANSWER_WAIT, DEAD_AFTER, FILE_BYTES_MAX, HELD, LOOK_EVERY, NEWS_EVERY, REFUSAL_BYTES_MAX,
    RETRY_CAP, UNWANTED_WAIT,
};
use crate::run::{Pace, Subscription};

#[test]
fn the_pace_of_a_real_node_is_that_of_its_limits() {
    let pace = Pace::default();
    assert_eq!(
        (pace.retry_cap, RETRY_CAP),
        (RETRY_CAP, Duration::from_secs(30))
    );
    assert_eq!(
        (pace.dead_after, DEAD_AFTER),
        (DEAD_AFTER, Duration::from_secs(9))
    );
    assert_eq!(pace.beat, Duration::from_secs(3));
    assert_eq!(
        (pace.news, NEWS_EVERY),
        (NEWS_EVERY, Duration::from_millis(500))
    );
    assert_eq!(
        (pace.unwanted, UNWANTED_WAIT),
        (UNWANTED_WAIT, Duration::from_secs(300))
    );
    assert_eq!(
        (HELD, LOOK_EVERY),
        (Duration::from_secs(5), Duration::from_secs(60))
    );
    let mut backoff = Backoff::new(RETRY_CAP, 7);
    assert!((0..1000).all(|_| backoff.next_wait() <= RETRY_CAP));
}

#[test]
fn a_file_of_file_bytes_max_is_read_and_one_byte_more_is_not() {
    let node = Node::new(&Authority::new(), 1, 3600);
    let path = node.folder.path().join("trust.json");
    // Blanks behind it are part of what is summed; a file of an earlier version has no sum.
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, rest) = text.split_once('\n').unwrap();
    let (sum, members) = rest.split_once('\n').unwrap();
    assert!(sum.contains("sha256"), "{sum}");
    let mut text = format!("{begin}\n{members}").into_bytes();
    text.resize(usize::try_from(FILE_BYTES_MAX).unwrap(), b' ');
    std::fs::write(&path, &text).unwrap();
    assert!(Subscription::look(node.folder.path()).is_ok());
    text.push(b' ');
    std::fs::write(&path, &text).unwrap();
    let error = Subscription::look(node.folder.path()).unwrap_err();
    assert!(error.contains("larger than 2097152 bytes"), "{error}");
}

#[test]
fn what_a_refusal_says_is_read_up_to_refusal_bytes_max() {
    for (length, is_told) in [(REFUSAL_BYTES_MAX, true), (REFUSAL_BYTES_MAX + 1, false)] {
        run(async {
            let server = Server::new().await;
            {
                let mut script = server.script.lock();
                script.denials.extend([500; 1000]);
                script.denial = format!("{:<length$}", "because");
            }
            let node = Node::new(&server.authority, 21, 19);
            let (recorder, _told) = Recorder::new();
            let subscription = node.start(&server, recorder);
            let failure = loop {
                let status = subscription.status();
                let failure = status["last_failure"].as_str().unwrap_or_default();
                if failure.contains("answered 500") {
                    break failure.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert_eq!(failure.contains("because"), is_told, "{length}");
        });
    }
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_left_after_answer_wait() {
    assert_eq!(ANSWER_WAIT, Duration::from_secs(10));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let node = Node::new(&Authority::new(), 1, 3600);
        // It accepts by its backlog; nobody reads.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (recorder, _told) = Recorder::new();
        let began = tokio::time::Instant::now();
        let subscription = super::world::start(&node.subscription(&[url]), recorder);
        loop {
            let status = subscription.status();
            if let Some(failure) = status["last_failure"].as_str() {
                assert!(failure.contains("no connection within 10 s"), "{failure}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= ANSWER_WAIT);
        assert!(began.elapsed() < ANSWER_WAIT + Duration::from_secs(1));
    });
}
