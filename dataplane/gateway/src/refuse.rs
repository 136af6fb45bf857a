//! A refusal in the words of the HTTP door. The reason comes from the closed list; internal names,
//! addresses and rules never leave the house.

use std::net::SocketAddr;

use adit_proto::connect::RequestId;
use adit_proto::http;
use adit_proto::refusal::Refusal;

use crate::trace::{Steps, Wanted};

/// What the caller asked for, as far as it is his own words, and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) subaccount: &'a str,
    pub(crate) location: &'a str,
    pub(crate) steps: Steps,
}

impl Asked<'_> {
    /// Which door it came by.
    pub(crate) fn door(&self) -> &'static str {
        if self.method == "CONNECT" {
            "connect"
        } else {
            "http"
        }
    }

    /// Its answer has no body (RFC 9110, section 9.3.2).
    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// As `why` tells it.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            door: self.door(),
            from: self.from,
            method: self.method,
            host: self.host,
            port: self.port,
            path: self.path,
            location: self.location,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all but SAP's few speak for themselves"
)]
/// The text for `refusal`: SAP's sentences where its callers look for them, else ours.
pub(crate) fn text(refusal: Refusal, asked: &Asked<'_>) -> String {
    match refusal {
        Refusal::SystemUnknown | Refusal::PortDenied => {
            http::system_denied_text(asked.host, asked.port)
        }
        Refusal::ResourceDenied | Refusal::MethodDenied | Refusal::UpgradeDenied => {
            http::resource_denied_text(asked.path.as_bytes(), asked.host, asked.port)
        }
        Refusal::NoAgent => http::no_agent_text(asked.subaccount, asked.location),
        other => other.text().to_owned(),
    }
}

/// The whole answer.
pub(crate) fn page(
    refusal: Refusal,
    asked: &Asked<'_>,
    id: RequestId,
    keep_alive: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    http::write_refusal(
        &mut out,
        refusal,
        &text(refusal, asked),
        id,
        keep_alive,
        asked.is_head(),
    );
    out
}
