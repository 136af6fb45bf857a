//! What a role does for its subscription.

use std::future::Future;
use std::pin::Pin;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};

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

    /// What is said of the node every few seconds. The end of its certificate is filled in by the subscription.
    fn beat(&self) -> Beat;

    /// Answers a question. Only questions of the list of what a control plane may ask come here.
    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer>;

    /// Another identity counts from now on; `change` says what of it.
    fn identity(&self, identity: &Identity, change: Change);

    /// For people: what failed, kept for `status`.
    fn failed(&self, what: &str);
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
