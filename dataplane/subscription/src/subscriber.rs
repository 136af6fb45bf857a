//! What a role does for its subscription.

use std::future::Future;
use std::pin::Pin;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_runtime::admin::{self, Node};

use crate::identity::Identity;

/// A future in a box, as trait objects give them.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A role that is told what a control plane says. Called on the thread of the subscription, so what takes long is
/// awaited.
pub trait Subscriber: Send + Sync {
    /// What is in force, if anything is.
    fn in_force(&self) -> Option<InForce>;

    /// Puts `document` in force, wholly or not at all, even when the future is dropped.
    fn push(&self, document: Vec<u8>) -> BoxFuture<'_, Result<Ack, Refused>>;

    /// Whether the role can work with `trust`. Asked before it is kept, for the next start begins with what is kept.
    ///
    /// # Errors
    /// What of it the role cannot use.
    fn check(&self, trust: &Trust) -> Result<(), String>;

    /// What is said of the node every few seconds. The end of its certificate and its problems are
    /// filled in by the subscription.
    fn beat(&self) -> Beat;

    /// Answers a question. Only questions of the list of what a control plane may ask come here.
    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer>;

    /// Another identity counts from now on; `change` says what of it.
    fn identity(&self, identity: &Identity, change: Change);

    /// For people: what failed, kept for `status`.
    fn failed(&self, what: &str);
}

/// What `node` answers to `ask` on its admin paths, for a role to give in [`Subscriber::answer`].
pub async fn answer_by(node: &dyn Node, ask: Ask) -> Answer {
    let body = ask.body.into_bytes();
    let answer = admin::ask(node, ask.method, ask.path, ask.query, body).await;
    match String::from_utf8(answer.body) {
        Ok(body) => Answer {
            status: answer.status,
            body,
        },
        // Another text than the node's own must not pass for its answer.
        Err(_not_text) => Answer {
            status: 500,
            body: "the node's answer is not UTF-8\n".to_owned(),
        },
    }
}

/// What of an identity has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a role must look at each")]
pub enum Change {
    /// Key and certificate, and perhaps the trust.
    Credentials,
    /// Whom to trust: roots, signing keys, revoked certificates.
    Trust,
}

/// Why a push was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a message: roles write all of it"
)]
pub struct Refused {
    /// The reason, a word of a closed list.
    pub why: &'static str,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use adit_runtime::admin::{AdminRequest, AdminResponse};

    use super::*;

    /// A node with one path that gives these bytes.
    struct Giving(Vec<u8>);

    impl Node for Giving {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"name": "n"})
        }

        fn ready(&self) -> Result<(), Vec<String>> {
            Ok(())
        }

        fn handle(&self, request: AdminRequest) -> BoxFuture<'_, Option<AdminResponse>> {
            let is_ours = request.path == "/why" && request.trusted;
            let mut response = AdminResponse::text(200, "");
            response.body = self.0.clone();
            Box::pin(std::future::ready(is_ours.then_some(response)))
        }
    }

    fn asked(node: &Giving, method: &str, path: &str) -> (u16, String) {
        let ask = Ask {
            ask: "q".to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: String::new(),
            body: String::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let answer = runtime.block_on(answer_by(node, ask));
        (answer.status, answer.body)
    }

    #[test]
    fn a_question_is_answered_by_the_admin_paths_and_bytes_that_are_no_text_are_an_error() {
        let node = Giving(b"{}".to_vec());
        assert_eq!(asked(&node, "GET", "/why"), (200, "{}".to_owned()));
        assert_eq!(asked(&node, "GET", "/status").0, 200);
        assert_eq!(asked(&node, "PUT", "/status").0, 405);
        assert_eq!(asked(&node, "GET", "/other").0, 404);
        let node = Giving(b"{\"a\":\"\xff\"}".to_vec());
        assert_eq!(asked(&node, "GET", "/why").0, 500);
    }
}
