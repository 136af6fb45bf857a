//! Hello, beats, pushes, questions, and lines that break.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::{Ask, Event, Goodbye};
use adit_proto::limits::PUSH_BYTES_MAX;
use adit_runtime::clock;
use adit_transport::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::Authority;
use super::server::{Guise, Heard, Server};
use super::world::{FAST, Node, Recorder, Told, in_force, run, start, subscribed};
use crate::limits::{ANSWERS_MAX, NEWS_EVERY};
use crate::run::Pace;
use crate::subscriber::Refused;

fn ask(ask: &str, method: &str, path: &str) -> Event {
    Event::Ask(Ask {
        ask: ask.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        body: "question".to_owned(),
    })
}

#[test]
fn a_node_says_who_it_is_and_what_it_has_and_goes_on_saying_how_it_is() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (mut recorder, _told) = Recorder::new();
        recorder.in_force = Some(in_force(6));
        let subscription = node.start(&server, recorder);
        let (hello, serial) = server.hello().await;
        assert_eq!(hello.location, "berlin");
        assert_eq!(hello.in_force, Some(in_force(6)));
        assert_eq!((hello.trust, hello.instance.len()), (1, 32));
        assert_eq!(serial.as_deref(), Some("a1"));
        for _ in 0..3 {
            let beat = server.beat().await;
            assert_eq!(beat.tunnels, 3);
            let until = node.identity().leaf().until_unix_s;
            assert_eq!(beat.certificate_until_unix_s, until);
        }
        let status = subscription.status();
        assert_eq!(status["connected"], true);
        assert_eq!(status["server"], "cp-1");
        assert_eq!(status["problems"], serde_json::json!([]));
    });
}

#[test]
fn a_push_is_acked_with_what_is_in_force_and_a_refused_one_nacked_with_its_hash() {
    run(async {
        let (mut server, _node, mut told, _subscription) = subscribed().await;
        server.say(&Event::Push(b"rules".to_vec()));
        let ack = server
            .until(|heard| match heard {
                Heard::Ack(ack) => Some(ack),
                _ => None,
            })
            .await;
        assert_eq!(ack.in_force, in_force(7));
        assert_eq!(told.recv().await, Some(Told::Push(5)));
    });
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        recorder.refusals.lock().push_back(Refused {
            why: "signature",
            problems: vec!["nobody signed it".to_owned(); crate::limits::PROBLEMS_MAX + 1],
        });
        node.start(&server, recorder);
        server.hello().await;
        server.say(&Event::Push(b"rules".to_vec()));
        let nack = server
            .until(|heard| match heard {
                Heard::Nack(nack) => Some(nack),
                _ => None,
            })
            .await;
        assert_eq!(nack.why, "signature");
        assert_eq!(nack.problems.len(), 100);
        // printf rules | sha256sum
        assert_eq!(
            nack.document_sha256,
            "6c621d1a05138a7888d37d9269a9da8e2e11e4aced2f6cfd24b05ab1b9e61bb0"
        );
    });
}

#[test]
fn a_question_of_the_list_is_answered_and_another_never_reaches_the_role() {
    run(async {
        let (mut server, _node, mut told, _subscription) = subscribed().await;
        for (method, path, status) in [
            ("GET", "/status", 200),
            ("POST", "/explain", 200),
            ("PUT", "/rules", 403),
            ("GET", "/metrics", 403),
            ("POST", "/status", 403),
            ("GET", "/status/", 403),
        ] {
            server.say(&ask("q-1", method, path));
            let (name, answer) = server
                .until(|heard| match heard {
                    Heard::Answer(name, answer) => Some((name, answer)),
                    _ => None,
                })
                .await;
            assert_eq!((name.as_str(), answer.status), ("q-1", status), "{path}");
            if status == 200 {
                assert_eq!(answer.body, "question");
                assert_eq!(
                    told.recv().await,
                    Some(Told::Ask(format!("{method} {path}")))
                );
            }
        }
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn answers_max_questions_are_answered_at_once_and_the_next_is_told_to_wait() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (mut recorder, mut told) = Recorder::new();
        recorder.hangs = true;
        node.start(&server, recorder);
        server.hello().await;
        for number in 0..=ANSWERS_MAX {
            server.say(&ask(&format!("q{number}"), "GET", "/status"));
        }
        let (name, answer) = server
            .until(|heard| match heard {
                Heard::Answer(name, answer) => Some((name, answer)),
                _ => None,
            })
            .await;
        assert_eq!((name, answer.status), (format!("q{ANSWERS_MAX}"), 503));
        for _ in 0..ANSWERS_MAX {
            assert!(matches!(told.recv().await, Some(Told::Ask(_))));
        }
    });
}

#[test]
fn questions_whose_answers_are_not_taken_wait_at_the_other_end_and_are_all_answered_in_the_end() {
    const QUESTIONS: usize = 1000;
    run(async {
        let (mut server, _node, mut told, _subscription) = subscribed().await;
        let desk = Arc::clone(&server.script.lock().desk);
        let held = desk.write_owned().await;
        for number in 0..QUESTIONS {
            server.say(&ask(&format!("q{number}"), "GET", "/status"));
        }
        let mut answering = 0;
        let mut beats = 0;
        // Beats go on, and what was read of the questions is long in work by then.
        while answering <= ANSWERS_MAX || beats < 3 {
            server
                .until(|heard| match heard {
                    Heard::Answering => {
                        answering += 1;
                        Some(())
                    }
                    Heard::Beat(_) => {
                        beats += 1;
                        Some(())
                    }
                    _ => None,
                })
                .await;
        }
        assert_eq!(answering, ANSWERS_MAX + 1);
        let mut reached = 0;
        while told.try_recv().is_ok() {
            reached += 1;
        }
        assert_eq!(reached, ANSWERS_MAX);
        drop(held);
        let mut answered = std::collections::BTreeSet::new();
        while answered.len() < QUESTIONS {
            answered.insert(
                server
                    .until(|heard| match heard {
                        Heard::Answer(name, _) => Some(name),
                        _ => None,
                    })
                    .await,
            );
        }
    });
}

#[test]
fn who_becomes_ready_says_so_at_once_and_what_follows_within_news_every_is_said_together() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let not_ready = Arc::clone(&recorder.not_ready);
        *not_ready.lock() = vec!["no tunnel is up yet".to_owned()];
        let pace = Pace {
            // Beats alone would come too late for this test, and for whoever waits.
            beat: Duration::from_secs(3600),
            dead_after: Duration::from_secs(3600),
            news: NEWS_EVERY,
            ..FAST
        };
        start(&node.subscription_at(&[server.url()], None, pace), recorder);
        server.hello().await;
        assert_eq!(server.beat().await.not_ready.len(), 1);
        let began = tokio::time::Instant::now();
        not_ready.lock().clear();
        assert!(server.beat().await.not_ready.is_empty());
        assert!(began.elapsed() < NEWS_EVERY * 2, "{:?}", began.elapsed());
        // To and fro faster than it is told.
        let began = tokio::time::Instant::now();
        let mut beats = 0_u32;
        while began.elapsed() < NEWS_EVERY * 4 {
            not_ready.lock().push("again".to_owned());
            let next = tokio::time::timeout(NEWS_EVERY / 50, server.beat()).await;
            beats += u32::from(next.is_ok());
        }
        assert!((2..=5).contains(&beats), "{beats}");
    });
}

#[test]
fn r15_a_control_plane_of_the_first_version_is_subscribed_to_and_one_of_a_later_format_is_named() {
    run(async {
        let mut server = Server::new().await;
        // It said neither format nor features.
        server.script.lock().speaks = (1, Vec::new());
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        assert_eq!(server.hello().await.0.features, ["problems"]);
        server.beat().await;
        assert_eq!(subscription.status()["connected"], true);
    });
    run(async {
        let mut server = Server::new().await;
        server.script.lock().speaks = (2, Vec::new());
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        server.hello().await;
        server.hello().await;
        let status = subscription.status();
        let failure = status["last_failure"].as_str().unwrap_or_default();
        assert!(
            failure.contains("format 2") && failure.contains("update the node"),
            "{failure}"
        );
    });
}

#[test]
fn r15_a_feature_that_the_node_needs_and_the_control_plane_lacks_is_named_and_others_do_not_matter()
{
    for (speaks, is_fine) in [(["problems", "later"], true), (["later", "latest"], false)] {
        run(async {
            let mut server = Server::new().await;
            server.script.lock().speaks = (1, speaks.map(str::to_owned).to_vec());
            let node = Node::new(&server.authority, 1, 3600);
            let (recorder, _told) = Recorder::new();
            let pace = Pace {
                needed: &["problems"],
                ..FAST
            };
            let subscription = node.subscription_at(&[server.url()], None, pace);
            start(&subscription, recorder);
            server.hello().await;
            if is_fine {
                server.beat().await;
                return;
            }
            server.hello().await;
            let status = subscription.status();
            let failure = status["last_failure"].as_str().unwrap_or_default();
            assert!(failure.contains("the feature `problems`"), "{failure}");
        });
    }
}

#[test]
fn an_event_of_an_unknown_kind_is_passed_over() {
    run(async {
        let (server, _node, mut told, _subscription) = subscribed().await;
        server.say_bytes(vec![200, 0, 0, 0, 3, 1, 2, 3]);
        server.say(&Event::Push(b"x".to_vec()));
        assert_eq!(told.recv().await, Some(Told::Push(1)));
    });
}

#[test]
fn a_server_that_says_nothing_more_is_left_for_the_next_connection() {
    run(async {
        let (mut server, _node, _told, subscription) = subscribed().await;
        // Nothing is said: the line counts as dead, although the connection is up.
        server.hello().await;
        let status = subscription.status();
        let failure = status["last_failure"].as_str().unwrap();
        assert!(failure.contains("silent for 400 ms"), "{failure}");
        // Beats keep it: heard for longer than the silence that ends it.
        for _ in 0..12 {
            server.beat().await;
            server.say(&Event::Beat);
        }
        let again = server
            .rest()
            .into_iter()
            .any(|heard| matches!(heard, Heard::Hello(..)));
        assert!(!again, "beats were heard");
    });
}

#[test]
fn a_server_that_never_welcomes_is_left_too() {
    run(async {
        let mut server = Server::new().await;
        server.script.lock().welcomes = false;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        server.hello().await;
        server.hello().await;
        assert_eq!(subscription.status()["connected"], false);
    });
}

#[test]
fn the_first_address_refuses_and_the_second_is_subscribed_to() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("https://{}", gone.local_addr().unwrap());
        drop(gone);
        let (recorder, _told) = Recorder::new();
        let subscription = node.subscription(&[nobody, server.url()]);
        start(&subscription, recorder);
        server.hello().await;
    });
}

#[test]
fn a_control_plane_that_comes_later_is_found() {
    run(async {
        let authority = Arc::new(Authority::new());
        let node = Node::new(&authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        // Nobody accepts there; the port stays ours.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let subscription = node.subscription(&[format!("https://{address}")]);
        start(&subscription, recorder);
        while subscription.status()["last_failure"].is_null() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut server = Server::at(held.listen(16).unwrap(), authority, Guise::default());
        server.hello().await;
    });
}

#[test]
fn push_bytes_max_is_taken_and_one_byte_more_ends_the_connection() {
    run(async {
        let (mut server, _node, mut told, subscription) = subscribed().await;
        server.say(&Event::Push(vec![b'x'; PUSH_BYTES_MAX]));
        assert_eq!(told.recv().await, Some(Told::Push(PUSH_BYTES_MAX)));
        let mut head = vec![2];
        let announced = u32::try_from(PUSH_BYTES_MAX + 1).unwrap();
        head.extend_from_slice(&announced.to_be_bytes());
        server.say_bytes(head);
        server.hello().await;
        let status = subscription.status();
        assert!(
            status["last_failure"].as_str().unwrap().contains("event:"),
            "{status}"
        );
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn a_goodbye_brings_the_node_back_soon_or_late_as_it_says() {
    run(async {
        let (mut server, _node, _told, _subscription) = subscribed().await;
        let goodbye = |come_back| {
            Event::Goodbye(Goodbye {
                why: "test".to_owned(),
                come_back,
            })
        };
        server.say(&goodbye(true));
        server.hello().await;
        let began = clock::now();
        server.say(&goodbye(false));
        server.hello().await;
        // At least half of the 300 ms of the pace; a backoff would end after 20 ms.
        assert!(clock::now() - began >= Duration::from_millis(150));
    });
}

#[test]
fn when_it_was_heard_is_kept_across_a_restart() {
    run(async {
        let mut server = Server::new().await;
        let mut node = Node::new(&server.authority, 50, 3600);
        node.horizon = Duration::from_secs(60);
        let (recorder, _told) = Recorder::new();
        let subscription = node.subscription(&[server.url()]);
        // Nothing was kept: the certificate's begin counts.
        assert!(subscription.contact().age(clock::now()) >= Duration::from_secs(50));
        assert!(!subscription.is_beyond_horizon(clock::now()));
        assert!(subscription.is_beyond_horizon(clock::now() + Duration::from_secs(11)));
        start(&subscription, recorder);
        server.hello().await;
        while !node.folder.path().join("contact").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let kept = std::fs::read_to_string(node.folder.path().join("contact")).unwrap();
        let kept: u64 = crate::summed::word(&kept).unwrap().parse().unwrap();
        assert!(clock::unix_now() - kept <= 5, "{kept}");
    });
}

#[test]
fn a_control_plane_is_reached_through_the_proxy_that_is_set() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = server.address;
        let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                tell.send(String::from_utf8(head).unwrap()).unwrap();
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let proxy = Proxy::parse(&format!("http://me:secret@{address}"), "").unwrap();
        // A name that only the proxy knows.
        let url = "https://cp1.invalid:7420".to_owned();
        let subscription = node.subscription_through(&[url], Some(proxy));
        let (recorder, _told) = Recorder::new();
        start(&subscription, recorder);
        server.hello().await;
        let head = asked.recv().await.unwrap();
        assert!(
            head.starts_with("CONNECT cp1.invalid:7420 HTTP/1.1\r\n"),
            "{head}"
        );
        // RFC 7617: base64("me:secret")
        assert!(
            head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
            "{head}"
        );
    });
}
