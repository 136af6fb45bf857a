//! The rule language, its compiled table and the one function that decides.
//!
//! Text becomes a [`RuleSet`], a rule set becomes a [`Table`], a table and its text become a [`Snapshot`], and a
//! snapshot asked about a [`Request`] answers with a [`Permit`] or a [`Denial`]. Nothing here dials, resolves names,
//! reads files or knows the time: who holds a permit does that, and only with what the permit names.
#![forbid(unsafe_code)]

pub mod canonical;
mod closest;
mod compile;
mod denial;
mod explain;
mod hosts;
pub mod limits;
mod method;
mod parse;
mod permit;
pub mod plan;
mod problem;
mod request;
mod rule;
mod rule_test;
#[cfg(feature = "generate")]
pub mod sample;
mod snapshot;
mod table;
mod tree;
mod write;

pub use canonical::address::{AddressClass, address_class};
pub use closest::{Closest, WhyNot};
pub use denial::{Denial, DenialReason};
pub use explain::{Explanation, Verdict, explain};
pub use method::Methods;
pub use parse::parse;
pub use permit::{InternalProtocol, Permit, Withdrawn};
pub use plan::{Plan, plan};
pub use problem::{Place, Problem, Problems};
pub use request::{OwnedRequest, Request, RequestError};
pub use rule::{
    EncodedSlash, HostHeader, HostName, InternalEnd, InternalHost, InternalHostProblem, PortRange,
    Protocol, Resource, ResourcePath, RuleSet, Scope, System, VirtualEnd,
};
pub use rule_test::{Expected, RuleName, RuleTest, TestOutcome};
pub use snapshot::Snapshot;
pub use table::{Grant, Table};
