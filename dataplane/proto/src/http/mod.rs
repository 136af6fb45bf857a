//! HTTP/1.1 as RFC 9112 writes it and no other way: heads, bodies, refusals.
//!
//! A head is parsed once into positions in the caller's buffer; a body is followed through it without being held. What
//! could be framed or routed in two ways is refused with a class of its own. Connections, deadlines and the decision
//! whether a request is allowed belong to others.

mod authority;
mod body;
mod credentials;
mod error;
mod field;
mod head;
mod refuse;
mod request;
mod response;
mod rewrite;
mod smuggling;

pub use authority::{Authority, AuthorityError, is_canonical_host};
pub use body::{Advance, Body, BodyError};
pub(crate) use credentials::BASE64;
pub use credentials::ProxyCredentials;
pub use error::{HeadError, Problem};
pub use head::{Framing, Version};
pub use refuse::{
    no_agent_text, resource_denied_text, status_phrase, system_denied_text, write_refusal,
};
pub use request::{HostHeader, RequestHead, Target};
pub use response::ResponseHead;
pub use rewrite::{Internal, Rewrite};
pub use smuggling::Smuggling;

pub use crate::limits::Limits;
