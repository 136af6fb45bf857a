//! The control plane's server as the command line sees it: who it is, what it is asked, who asks.
//!
//! Connections, the profile that `adit login` leaves, and questions to people are here. What is asked and how the
//! answer is told is left to the files of the nouns.

mod certificate;
mod client;
mod profile;
pub(crate) mod prompt;
pub(crate) mod shown;
mod trust;

use adit_authority::{Name, pem};

use crate::ending::Failure;

pub(crate) use certificate::ClientCertificate;
pub(crate) use client::{Answer, Call, Plane, ServerUrl};
pub(crate) use profile::{Connect, Profile, Proof};
pub(crate) use trust::Trust;

/// A server that has proved itself.
#[derive(Debug)]
pub(crate) struct Proven {
    /// Its name.
    pub(crate) server: String,
    pub(crate) trust_domain: String,
    /// The root that a pin names, PEM; empty where roots were given.
    pub(crate) root_pem: String,
}

/// Connects, and says who is there.
///
/// # Errors
/// Nobody is there, or somebody else.
pub(crate) async fn proven(plane: &Plane, trust: &Trust) -> Result<Proven, Failure> {
    let chain = plane.chain().await?;
    let named = chain.first().and_then(trust::server_named);
    let (domain, server) =
        named.ok_or_else(|| Failure::failed("the server's certificate names nobody"))?;
    let root = match trust {
        Trust::Roots(_) => None,
        Trust::Pin(pin) => trust::pinned(&chain, pin),
    };
    Ok(Proven {
        server,
        trust_domain: domain.to_string(),
        root_pem: root.map_or_else(String::new, |root| pem("CERTIFICATE", root)),
    })
}

/// A name as a part of a path; `what` is for messages.
///
/// # Errors
/// It can be no name, and would ask for something else.
pub(crate) fn segment<'n>(what: &str, name: &'n str) -> Result<&'n str, Failure> {
    match name.parse::<Name>() {
        Ok(_) => Ok(name),
        Err(why) => Err(Failure::usage(format!("{what} {name:?}: {why}"))),
    }
}

/// A user's name as a part of a path: names of users may hold `@` and `+`.
///
/// # Errors
/// It can be no name, and would ask for something else.
pub(crate) fn user_segment(what: &str, name: &str) -> Result<String, Failure> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    if matches!(name, "" | "." | "..") || !name.bytes().all(may) {
        return Err(Failure::usage(format!("{what} {name:?}: is no name")));
    }
    Ok(escaped(name))
}

/// Text as a part of a path or of a query, whatever is in it (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
