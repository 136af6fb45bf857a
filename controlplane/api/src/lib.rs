//! What the control plane's REST door takes and answers, as types: the door, the command line and the OpenAPI document
//! are made from them.
//!
//! Times are seconds since 1970. Unknown members of a request are refused, of an answer they are to be passed over.
//! Who may ask for what, and what it means, is the server's.
#![forbid(unsafe_code)]

mod act;
pub mod limits;
mod node;
mod people;
mod problem;
mod rules;
mod server;
mod traffic;

pub use act::{Act, Acts};
pub use node::{
    Certificate, Connected, Invitation, Invitations, Invite, Invited, LastNack, Node, NodeRole,
    Nodes, Running, Why, WhyPart,
};
pub use people::{
    ApiToken, ApiTokens, Grant, Login, NewToken, NewUser, PasswordChange, Role, Scope, Setup,
    Token, User, UserChange, Users, Whoami,
};
pub use problem::Problem;
pub use rules::{
    Applied, Canary, Change, Explain, NodeState, Rollback, Rollout, RolloutNode, RuleSet, RuleSets,
    Rules, Version, Versions,
};
pub use server::{ActsSink, Authority, AuthorityStep, Root, Server, SigningKey, Status};
pub use traffic::{
    Traffic, TrafficAgent, TrafficLevel, TrafficRequest, TrafficRule, TrafficSilent,
};

/// The media type of rules: TOML 1.0 in UTF-8.
pub const RULES_TYPE: &str = "application/toml";

/// The media type of [`Problem`] (RFC 9457, section 3).
pub const PROBLEM_TYPE: &str = "application/problem+json";
