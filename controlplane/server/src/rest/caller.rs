//! Who asks: before anything of a body is read.

use std::sync::Arc;

use adit_people::{Denied, How, Principal, Scope, Verb, authorize};
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts as Head;

use super::{Parts, RequestId};
use crate::acts::By;
use crate::door::{Connection, Shown};
use crate::members::Known;
use crate::metrics;
use crate::trouble::Trouble;

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) known: Known,
    pub(crate) request_id: String,
}

impl Caller {
    pub(crate) fn principal(&self) -> &Principal {
        &self.known.principal
    }

    /// As acts name them.
    pub(crate) fn by(&self) -> By {
        By {
            who: self.principal().to_string(),
            fingerprint: if let How::Certificate { fingerprint } = &self.principal().how {
                Some(fingerprint.clone())
            } else {
                None
            },
            request_id: self.request_id.clone(),
        }
    }

    /// Whether they may do this in a subaccount.
    ///
    /// # Errors
    /// They may not. Says nothing of what is there.
    pub(crate) fn may(&self, verb: Verb, subaccount: &str) -> Result<(), Trouble> {
        if !adit_people::is_subaccount(subaccount) {
            return Err(Trouble::Invalid(format!(
                "{subaccount:?} can be no subaccount"
            )));
        }
        self.authorized(verb, &Scope::Subaccount(subaccount.to_owned()))
    }

    /// Whether they may do this where it belongs to no subaccount.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn may_globally(&self, verb: Verb) -> Result<(), Trouble> {
        self.authorized(verb, &Scope::All)
    }

    fn authorized(&self, verb: Verb, scope: &Scope) -> Result<(), Trouble> {
        authorize(self.principal(), verb, scope)
            .map_err(|denied: Denied| Trouble::Denied(denied.to_string()))
    }
}

impl FromRequestParts<Arc<Parts>> for Caller {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, parts: &Arc<Parts>) -> Result<Self, Trouble> {
        let request_id = head
            .extensions
            .get::<RequestId>()
            .map_or_else(String::new, |id| id.0.clone());
        let connection = head.extensions.get::<Connection>().cloned();
        let shown = connection.map_or(Shown::Nothing, |connection| connection.shown);
        let said = head.headers.get(AUTHORIZATION);
        let known = match (&shown, said) {
            // Which of the two was meant is not guessed.
            (Shown::Person(_), Some(_)) => {
                return Err(Trouble::Invalid(
                    "a client certificate and an Authorization field say twice who asks; send one of them".to_owned(),
                ));
            }
            (Shown::Person(person), None) => parts.members.certified(person).await?,
            (Shown::Node(_) | Shown::Nothing, said) => {
                let bearer = said.and_then(bearer).ok_or_else(|| {
                    if matches!(shown, Shown::Node(_)) {
                        metrics::certificate_refused("node");
                        tracing::info!("a node's certificate was shown where people ask");
                    }
                    NOBODY
                })?;
                parts.members.known(bearer).await?
            }
        };
        Ok(Self { known, request_id })
    }
}

const NOBODY: Trouble =
    Trouble::Unauthenticated("say who you are: Authorization: Bearer TOKEN; `adit login` gets one");

fn bearer(field: &HeaderValue) -> Option<&str> {
    let (scheme, bearer) = field.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(bearer.trim())
}
