//! What a node says on one connection after the welcome: acks, nacks, answers, beats.
//!
//! When it says them, and what it hears, is `run`'s.

use adit_proto::control::{self, Answer, Ask, Beat, Nack};
use ring::digest;

use crate::connection::{Asker, Failed};
use crate::limits::PROBLEMS_MAX;
use crate::metrics;
use crate::run::Subscription;
use crate::subscriber::Subscriber;

/// What is said on one connection after the welcome.
pub(crate) struct Line<'a> {
    pub(crate) subscription: &'a Subscription,
    pub(crate) subscriber: &'a dyn Subscriber,
    pub(crate) asker: Asker,
    pub(crate) base: String,
    /// The control plane knows what problems are.
    pub(crate) tells_problems: bool,
}

impl Line<'_> {
    pub(crate) async fn push(&self, document: Vec<u8>) -> Result<(), Failed> {
        let hash = digest::digest(&digest::SHA256, &document);
        let (path, body) = match self.subscriber.push(document).await {
            Ok(ack) => {
                metrics::acked();
                ("ack", control::to_json(&ack))
            }
            Err(refused) => {
                metrics::nacked(refused.why);
                let nack = Nack {
                    document_sha256: hex(hash.as_ref()),
                    why: refused.why.to_owned(),
                    problems: shortened(refused.problems),
                };
                ("nack", control::to_json(&nack))
            }
        };
        self.asker
            .tell(&format!("{}/{path}", self.base), body)
            .await
    }

    pub(crate) async fn answer(&self, ask: Ask, is_full: bool) -> Result<(), Failed> {
        let path = format!("{}/answers/{}", self.base, ask.ask);
        let may = ASKABLE
            .iter()
            .any(|(method, path)| *method == ask.method && *path == ask.path);
        let say = |status, body: &str| Answer {
            status,
            body: body.to_owned(),
        };
        let answer = if !ask
            .ask
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            // It becomes part of a path.
            return Ok(());
        } else if !may {
            say(403, "a control plane may not ask this of a node\n")
        } else if is_full {
            say(
                503,
                "the node is answering as many questions as it does at once\n",
            )
        } else {
            self.subscriber.answer(ask).await
        };
        let mut body = control::to_json(&answer);
        if body.len() > adit_proto::limits::CONTROL_BYTES_MAX {
            body = control::to_json(&say(413, "the answer is larger than a message may be\n"));
        }
        match self.asker.tell(&path, body).await {
            // Whoever asked no longer waits.
            Err(Failed::Refused { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// What is to be said of the node now.
    pub(crate) fn beat(&self) -> Beat {
        let mut beat = self.subscriber.beat();
        beat.certificate_until_unix_s = self.subscription.identity().leaf().until_unix_s;
        if self.tells_problems {
            beat.problems = shortened(self.subscription.problems());
        }
        beat
    }

    pub(crate) fn say_beat(
        &self,
        beat: &Beat,
    ) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
        let (asker, path) = (self.asker.clone(), format!("{}/beat", self.base));
        let body = control::to_json(beat);
        async move { asker.tell(&path, body).await }
    }
}

fn shortened(mut problems: Vec<String>) -> Vec<String> {
    problems.truncate(PROBLEMS_MAX);
    for problem in &mut problems {
        problem.truncate(problem.floor_char_boundary(PROBLEM_BYTES_MAX));
    }
    problems
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a control plane may ask of a node: nothing that changes it.
const ASKABLE: [(&str, &str); 5] = [
    ("GET", "/status"),
    ("GET", "/rules"),
    ("POST", "/explain"),
    ("GET", "/why"),
    ("GET", "/traffic"),
];
/// Bytes of a problem in a nack.
const PROBLEM_BYTES_MAX: usize = 1024;
