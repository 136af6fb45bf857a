//! Collectors that take, refuse and are full, on a real socket.
//!
//! What an answer means is tested beside `verdict`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::place::Place;
use crate::settings::{Kind, RawOtlp, Sink};
use crate::test_world::{chain, next_body, who};

/// A collector that judges requests by the numbers of their records.
struct Collector {
    link: OtlpLink,
    taken: Arc<Mutex<Vec<u64>>>,
    gaps: Arc<Mutex<Vec<u64>>>,
    requests: Arc<Mutex<usize>>,
}

type Judge = Box<dyn Fn(&[u64]) -> Vec<u8> + Send>;

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Takes all batches but those with this record.
fn refusing(poison: u64) -> Judge {
    Box::new(move |numbers| {
        if numbers.contains(&poison) {
            answer("400 Bad", r#"{"message":"not this one"}"#)
        } else {
            answer("200 OK", "")
        }
    })
}

impl Collector {
    async fn with(judge: Judge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
        let requests: Arc<Mutex<usize>> = Arc::default();
        let (all, count) = (Arc::clone(&taken), Arc::clone(&requests));
        let gaps: Arc<Mutex<Vec<u64>>> = Arc::default();
        let lacking = Arc::clone(&gaps);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut pending = VecDeque::new();
                while let Some(body) = next_body(&mut socket, &mut pending).await {
                    let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    let records = read["resourceLogs"][0]["scopeLogs"][0]["logRecords"].clone();
                    // Of records the number, of a gap how many it lacks.
                    let (mut numbers, mut gaps): (Vec<u64>, Vec<u64>) = Default::default();
                    for record in records.as_array().unwrap() {
                        let last = &record["attributes"][2];
                        let number = last["value"]["intValue"].as_str().unwrap();
                        match last["key"].as_str().unwrap() {
                            "adit.sequence" => numbers.push(number.parse().unwrap()),
                            _ => gaps.push(number.parse().unwrap()),
                        }
                    }
                    *count.lock() += 1;
                    let answer = judge(&numbers);
                    if answer.starts_with(b"HTTP/1.1 2") {
                        all.lock().extend(numbers);
                        lacking.lock().extend(gaps);
                    }
                    if socket.write_all(&answer).await.is_err() {
                        break;
                    }
                }
            }
        });
        let raw = RawOtlp {
            url: Some(url),
            ..RawOtlp::default()
        };
        let Kind::Otlp(to) = Sink::otlp(raw).unwrap().0 else {
            panic!("it is otlp");
        };
        Self {
            link: OtlpLink::new(to, Arc::new(who())),
            taken,
            gaps,
            requests,
        }
    }
}

fn batch(count: usize) -> Lines {
    let mut lines = Lines::behind(&Place::START, u64::try_from(count).unwrap()).unwrap();
    for line in chain(count, 0) {
        lines.push(&line).unwrap();
    }
    lines
}

#[tokio::test]
async fn records_that_are_answered_are_delivered_and_one_connection_serves() {
    let mut collector = Collector::with(Box::new(|_| answer("200 OK", "{}"))).await;
    for _ in 0..3 {
        let sent = collector.link.send(&batch(5)).await.unwrap();
        assert_eq!((sent.settles, sent.rejected), (Settles::Now, 0));
    }
    assert_eq!(collector.taken.lock().len(), 15);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_is_no_failure() {
    let closing = |_: &[u64]| answer("200 OK\r\nconnection: close", "{}");
    let mut collector = Collector::with(Box::new(closing)).await;
    for _ in 0..3 {
        collector.link.send(&batch(5)).await.unwrap();
    }
    assert_eq!(collector.taken.lock().len(), 15);
}

#[tokio::test]
async fn a_collector_that_is_full_is_told_of_with_its_wish() {
    let busy = |_: &[u64]| answer("503 Busy\r\nretry-after: 7", r#"{"message":"full"}"#);
    let mut collector = Collector::with(Box::new(busy)).await;
    let failed = collector.link.send(&batch(5)).await.unwrap_err();
    assert_eq!(failed.wait, Some(std::time::Duration::from_secs(7)));
    assert_eq!(failed.words, "the collector answered 503: full");
}

#[tokio::test]
async fn a_record_that_is_refused_for_good_is_passed_over_and_all_others_come_in_order() {
    for poison in [1, 77, 200] {
        let mut collector = Collector::with(refusing(poison)).await;
        let sent = collector.link.send(&batch(200)).await.unwrap();
        assert_eq!(sent.rejected, 1);
        let expected: Vec<u64> = (1..=200).filter(|number| *number != poison).collect();
        assert_eq!(*collector.taken.lock(), expected);
    }
}

#[tokio::test]
async fn a_gap_is_told_once_with_the_first_records_that_are_taken() {
    for poison in [6, 77, 0] {
        let mut collector = Collector::with(refusing(poison)).await;
        let mut lines = Lines::behind(&Place::START, 200).unwrap();
        for line in &chain(200, 0)[5..] {
            lines.push(line).unwrap();
        }
        collector.link.send(&lines).await.unwrap();
        assert_eq!(*collector.gaps.lock(), [5], "{poison} is refused");
    }
}

#[tokio::test]
async fn no_more_are_refused_than_were_sent_whatever_the_collector_says() {
    let much = r#"{"partialSuccess":{"rejectedLogRecords":"18446744073709551615"}}"#;
    let mut collector = Collector::with(Box::new(|_| answer("200 OK", much))).await;
    let sent = collector.link.send(&batch(5)).await.unwrap();
    assert_eq!(sent.rejected, 5);
}

#[tokio::test]
async fn refusals_max_refusals_in_a_row_are_a_failure_and_lose_nothing() {
    let mut collector = Collector::with(Box::new(|_| answer("400 Bad", ""))).await;
    let failed = collector.link.send(&batch(200)).await.unwrap_err();
    assert_eq!(failed.why, Why::Refused);
    assert_eq!(*collector.requests.lock(), REFUSALS_MAX);
    // One record alone is never passed over: all of them would be, at a collector that refuses everything.
    assert!(collector.link.send(&batch(1)).await.is_err());
    // One refusal fewer in a row, and the search goes on.
    let count = Arc::new(Mutex::new(0));
    let judge = move |_: &[u64]| {
        *count.lock() += 1;
        if *count.lock() < REFUSALS_MAX {
            answer("400 Bad", "")
        } else {
            answer("200 OK", "")
        }
    };
    let mut collector = Collector::with(Box::new(judge)).await;
    assert!(collector.link.send(&batch(200)).await.is_ok());
}

#[tokio::test]
async fn an_answer_may_have_answer_bytes_max() {
    for (length, is_read) in [(ANSWER_BYTES_MAX, true), (ANSWER_BYTES_MAX + 1, false)] {
        let judge = move |_: &[u64]| answer("200 OK", &" ".repeat(length));
        let mut collector = Collector::with(Box::new(judge)).await;
        assert_eq!(collector.link.send(&batch(1)).await.is_ok(), is_read);
    }
}
