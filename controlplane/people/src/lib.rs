//! Who may do what in the control plane, as values.
//!
//! Roles and verbs with the one table that joins them, users and their passwords, bearer secrets, people of an OIDC
//! issuer or with a client certificate, and how often a password may be tried. Keeping users, speaking HTTP, fetching an issuer's keys and the
//! clock are left to the server.

#![forbid(unsafe_code)]

mod authorize;
pub mod bearer;
pub mod certificate;
pub mod limits;
pub mod oidc;
pub mod password;
mod principal;
mod role;
mod throttle;
mod user;
mod verb;

pub use authorize::{Denied, Visible, authorize, may_grant, may_read_user, narrowed, visible};
pub use principal::{How, Principal};
pub use role::{BadGrant, Grant, Role, Scope, is_subaccount};
pub use throttle::{Throttle, Wait};
pub use user::{BadUserName, User, UserName};
pub use verb::{Reach, Verb, table};
