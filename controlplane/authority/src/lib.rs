//! The control plane's certificate authority and its key for signing rules, as values.
//!
//! An [`Authority`] issues certificates to whoever asks with a signing request and was judged worthy before, changes
//! its roots and its signing key without an interruption, and goes to rest sealed. Time is an argument. Who may have a
//! certificate, who is revoked, and where the sealed bytes lie is left to whoever calls.
//!
//! A [`Root`] by itself is an authority in a folder, as `adit pki` makes it.
#![forbid(unsafe_code)]

mod authority;
mod error;
mod expired;
mod identity;
mod invitation;
mod issue;
mod key;
mod leaf;
pub mod limits;
mod pem;
mod request;
mod roll;
mod root;
pub mod seal;
mod signed;
mod state;

pub use authority::{Authority, RootState, ServerIdentity, SigningKeyState};
pub use error::{
    ExpiredError, InvitationError, IssueError, LeafError, NoRandomness, OpenError, RequestError,
    RollError, RootError,
};
pub use expired::ExpiredNode;
pub use identity::{Identity, Name, TrustDomain};
pub use invitation::Invitation;
pub use issue::{Issue, Issued};
pub use leaf::{Leaf, parse_leaf};
pub use pem::pem;
pub use root::Root;
pub use seal::SealKey;
