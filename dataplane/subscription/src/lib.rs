//! A node's side of the control plane: it enrols, subscribes, takes pushes, answers, and renews its certificate.
//!
//! A moving room on tokio, used by agent and gateway alike. It keeps the node's identity on disk and in memory and
//! holds one connection to one of the control plane's servers, tried for ever. What a push means, and what becomes of
//! tunnels when the identity changes, is the role's: a [`Subscriber`]. Without a control plane nothing here stops
//! traffic.
#![forbid(unsafe_code)]

mod connection;
mod contact;
mod enrol;
mod folder;
mod identity;
mod invitation;
mod keys;
mod limits;
mod line;
pub mod metrics;
mod renew;
mod row;
mod run;
mod settings;
mod subscriber;
mod summed;
#[cfg(test)]
mod tests;

pub use contact::Contact;
pub use enrol::{Enrolment, enrol};
pub use identity::Identity;
pub use invitation::{Invitation, InvitationError};
pub use run::{Facts, Subscription};
pub use settings::{Control, ControlUrl};
pub use subscriber::{Change, Refused, Subscriber, answer_by};
