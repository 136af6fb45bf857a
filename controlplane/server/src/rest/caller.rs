//! Who asks: before anything of a body is read.

use std::sync::Arc;

use adit_people::{Denied, Principal, Scope, Verb, authorize};
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts as Head;

use super::{Parts, RequestId};
use crate::acts::By;
use crate::members::Known;
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
        let field = head
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = field.and_then(|field| {
            let (scheme, bearer) = field.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(bearer.trim())
        });
        let bearer = bearer.ok_or(Trouble::Unauthenticated(
            "say who you are: Authorization: Bearer TOKEN; `adit login` gets one",
        ))?;
        let known = parts.members.known(bearer).await?;
        Ok(Self { known, request_id })
    }
}
