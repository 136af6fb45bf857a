//! The place of a sink, and whoever is there on the day: nobody, one who closes, refuses, says nothing, or takes.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_audit::Verifier;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::node::Node;
use crate::Facts;
use crate::settings::{RawOtlp, RawSyslog, Sink};
use crate::test_world::next_body;

/// What a sink does with whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It accepts and closes.
    Drops,
    /// It reads and closes; a collector says 503, and when to come again.
    Refuses,
    /// It accepts, and that is all.
    IsSilent,
    Takes,
}

/// Six hours each; the first without anybody who listens.
pub(super) const MOODS: [Option<Mood>; 4] = [
    None,
    Some(Mood::Drops),
    Some(Mood::Refuses),
    Some(Mood::IsSilent),
];

/// The place of a sink, and whoever is there.
pub(super) struct Door {
    pub(super) sink: Sink,
    socket: Option<Socket>,
    tls: Option<TlsAcceptor>,
    mood: Arc<Mutex<Mood>>,
    pub(super) accepts: Arc<AtomicUsize>,
    held: Arc<Mutex<Vec<TcpStream>>>,
    pub(super) taken: Arc<Mutex<Taken>>,
    // It has read something, and not kept it.
    pub(super) has_read: bool,
    _files: tempfile::TempDir,
}

#[derive(Default)]
pub(super) struct Taken {
    texts: Vec<String>,
    pub(super) first_at: Option<Instant>,
}

impl Door {
    /// Its port is taken, and nobody listens.
    pub(super) fn shut(is_syslog: bool) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        let files = tempfile::tempdir().unwrap();
        let (sink, tls) = if is_syslog {
            let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
            let roots = files.path().join("roots.pem");
            fs::write(&roots, made.cert.pem()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let key = made.signing_key.serialize_der();
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key.try_into().unwrap())
                .unwrap();
            let raw = RawSyslog {
                server: Some(at.to_string()),
                ca_file: Some(roots),
                ..RawSyslog::default()
            };
            let tls = TlsAcceptor::from(Arc::new(config));
            (Sink::syslog(raw).unwrap(), Some(tls))
        } else {
            let raw = RawOtlp {
                url: Some(format!("http://{at}")),
                ..RawOtlp::default()
            };
            (Sink::otlp(raw).unwrap(), None)
        };
        Self {
            sink,
            socket: Some(socket),
            tls,
            mood: Arc::new(Mutex::new(Mood::Drops)),
            accepts: Arc::default(),
            held: Arc::default(),
            taken: Arc::default(),
            has_read: false,
            _files: files,
        }
    }

    pub(super) fn open(&mut self, mood: Mood) {
        *self.mood.lock() = mood;
        self.held.lock().clear();
        self.has_read |= mood == Mood::Refuses && self.tls.is_some();
        let Some(socket) = self.socket.take() else {
            return;
        };
        socket.listen(16).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let (tls, mood) = (self.tls.clone(), Arc::clone(&self.mood));
        let (accepts, held) = (Arc::clone(&self.accepts), Arc::clone(&self.held));
        let taken = Arc::clone(&self.taken);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                accepts.fetch_add(1, Ordering::Relaxed);
                let now = *mood.lock();
                match (now, &tls) {
                    (Mood::Drops, _) => {}
                    (Mood::IsSilent, _) => held.lock().push(socket),
                    (Mood::Refuses | Mood::Takes, Some(tls)) => {
                        let (tls, taken) = (tls.clone(), Arc::clone(&taken));
                        tokio::spawn(syslog(tls, socket, now, taken));
                    }
                    (Mood::Refuses | Mood::Takes, None) => {
                        tokio::spawn(otlp(socket, now, Arc::clone(&taken)));
                    }
                }
            }
        });
    }

    /// The number of the last record that came.
    pub(super) fn last(&self) -> u64 {
        let taken = self.taken.lock();
        taken.texts.last().map_or(0, |text| {
            adit_audit::read_line(format!("{text}\n").as_bytes())
                .unwrap()
                .sequence
        })
    }

    /// One gap, told first and with its number; behind it all there was, once, in order, and a chain.
    pub(super) fn must_have(&self, node: &Node, facts: &Facts) {
        let taken = self.taken.lock();
        let (gap, lines) = taken.texts.split_first().unwrap();
        let gap: serde_json::Value = serde_json::from_str(gap).unwrap();
        assert_eq!(gap["forwarder"], "not-sent");
        let mut verifier = Verifier::new(None);
        for line in lines {
            let line = format!("{line}\n");
            verifier
                .line(line.as_bytes())
                .unwrap_or_else(|broken| panic!("{broken:?}: {line}"));
        }
        let count = u64::try_from(lines.len()).unwrap();
        let summary = verifier.summary();
        let first = summary.sequence + 1 - count;
        assert_eq!(
            (gap["from"].as_u64(), gap["to"].as_u64()),
            (Some(101), Some(first - 1))
        );
        assert_eq!(gap["records"].as_u64(), Some(first - 101));
        assert_eq!(facts.gap_records, first - 101);
        // Nothing that was left when it was back: at most one segment went meanwhile.
        assert!(first > 50_000 && first - 1 <= node.removed, "{first}");
        assert_eq!(summary.sequence, node.chain.sequence());
        assert_eq!(summary.last, node.chain.last());
    }
}

pub(super) async fn syslog(
    tls: TlsAcceptor,
    socket: TcpStream,
    mood: Mood,
    taken: Arc<Mutex<Taken>>,
) {
    let Ok(mut socket) = tls.accept(socket).await else {
        return;
    };
    let mut pending = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(count @ 1..) = socket.read(&mut buffer).await else {
            return;
        };
        if mood == Mood::Refuses {
            return;
        }
        pending.extend_from_slice(&buffer[..count]);
        let mut taken = taken.lock();
        taken.first_at.get_or_insert_with(Instant::now);
        let mut at = 0;
        while let Some(blank) = pending[at..].iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&pending[at..at + blank]).unwrap();
            let start = at + blank + 1;
            let end = start + length.parse::<usize>().unwrap();
            let Some(message) = pending.get(start..end) else {
                break;
            };
            let message = std::str::from_utf8(message).unwrap();
            let (_, text) = message.split_once("] ").unwrap();
            taken.texts.push(text.to_owned());
            at = end;
        }
        pending.drain(..at);
    }
}

pub(super) async fn otlp(mut socket: TcpStream, mood: Mood, taken: Arc<Mutex<Taken>>) {
    let mut pending = VecDeque::new();
    while let Some(body) = next_body(&mut socket, &mut pending).await {
        let answer = if mood == Mood::Refuses {
            "503 Full\r\nretry-after: 86400"
        } else {
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let records = &read["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
            let mut taken = taken.lock();
            taken.first_at.get_or_insert_with(Instant::now);
            for record in records.as_array().unwrap() {
                let text = record["body"]["stringValue"].as_str().unwrap();
                taken.texts.push(text.to_owned());
            }
            "200 OK"
        };
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
