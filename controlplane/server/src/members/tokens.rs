//! Tokens for programs: made, listed and revoked. What one is worth is told by `bearers`.
//!
//! A token is known to people by the beginning of its secret's hash, from which nobody gets to the secret.

use std::collections::HashMap;

use adit_api as api;
use adit_people::bearer::{ApiToken, Kind, is_label};
use adit_people::limits::API_TOKEN_LIFE_S_MAX;
use adit_people::{How, Principal, User, UserName, may_grant, may_read_user};
use adit_store::{Entry, Error, Key, Txn};

use super::bearers::Bearer;
use super::{Members, deed, denied, is_self, shown_grants, user_name};
use crate::acts::By;
use crate::clock;
use crate::keys;
use crate::scan;
use crate::trouble::Trouble;

impl Members {
    /// A token for programs, with what its owner may do.
    pub(crate) async fn new_token(
        &self,
        by: &By,
        principal: &Principal,
        wish: api::NewToken,
    ) -> Result<api::Token, Trouble> {
        if principal.how != How::Local {
            return Err(Trouble::Denied(
                "only a user who has logged in with a password makes tokens".to_owned(),
            ));
        }
        if !is_label(&wish.label) {
            return Err(Trouble::Invalid(
                "label: 1 to 128 bytes without control characters".to_owned(),
            ));
        }
        let life = wish.days.saturating_mul(86_400);
        if life == 0 || life > API_TOKEN_LIFE_S_MAX {
            return Err(Trouble::Invalid("days: 1 to 366".to_owned()));
        }
        let now = clock::unix_s();
        let user = user_name(&principal.name)?;
        let token = ApiToken {
            user: user.clone(),
            label: wish.label.clone(),
            grants: None,
            created_unix_s: now,
            expires_unix_s: now + life,
        };
        let deed = deed("token-create", user.as_str(), wish.label);
        self.keep(by, &deed, Kind::ApiToken, &Bearer::ApiToken(token))
            .await
    }

    /// Tokens that count and that `principal` may see: their own, and those of users whom they may see.
    pub(crate) async fn tokens(
        &self,
        principal: &Principal,
        after: Option<&str>,
        items_max: usize,
    ) -> Result<(Vec<api::ApiToken>, Option<String>), Trouble> {
        let mut items: Vec<api::ApiToken> = Vec::new();
        for (entry, token, user) in self.visible(principal, None).await? {
            let id = id(&entry.key);
            if after.is_some_and(|after| id.as_str() <= after) {
                continue;
            }
            if items.len() >= items_max {
                let next = items.last().map(|token| token.id.clone());
                return Ok((items, next));
            }
            let may = token.principal(&user, clock::unix_s());
            items.push(api::ApiToken {
                id,
                user: token.user.to_string(),
                label: token.label,
                grants: may.map_or_else(Vec::new, |may| shown_grants(&may.grants)),
                created_unix_s: token.created_unix_s,
                expires_unix_s: token.expires_unix_s,
            });
        }
        Ok((items, None))
    }

    /// Ends a token: one's own, or one of a user whom `principal` may change.
    pub(crate) async fn revoke_token(
        &self,
        by: &By,
        principal: &Principal,
        wanted: &str,
    ) -> Result<(), Trouble> {
        let none =
            || Trouble::NotFound("there is no such token; it has ended, or was revoked".to_owned());
        let found = self.visible(principal, Some(wanted)).await?;
        let (entry, token, user) = found.into_iter().next().ok_or_else(none)?;
        if !is_self(principal, user.name.as_str()) {
            may_grant(principal, &user.grants).map_err(denied)?;
        }
        let txn = Txn::new()
            .at(entry.key.clone(), entry.revision)
            .delete(entry.key);
        let deed = deed("token-revoke", token.user.as_str(), token.label);
        match self.acts.commit(by, &deed, &txn).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { .. }) => Err(none()),
            Err(error) => Err(error.into()),
        }
    }

    /// In the order of their ids; all, or the one that is wanted.
    async fn visible(
        &self,
        principal: &Principal,
        wanted: Option<&str>,
    ) -> Result<Vec<(Entry, ApiToken, User)>, Trouble> {
        let now = clock::unix_s();
        let mut users: HashMap<UserName, Option<User>> = HashMap::new();
        let mut seen = Vec::new();
        let mut entries = scan::all(&*self.store, &keys::bearers()).await?;
        if let Some(wanted) = wanted {
            entries.retain(|entry| id(&entry.key) == wanted);
        }
        let found = scan::read::<Bearer>(entries)?;
        if let Some(entry) = found.newer.first().filter(|_| wanted.is_some()) {
            // Whoever asks for this one hears why it cannot be had.
            keys::read::<Bearer>(&entry.key, entry.value.as_bytes())?;
        }
        for (entry, bearer) in found.known {
            let Bearer::ApiToken(token) = bearer else {
                continue;
            };
            let user = match users.get(&token.user) {
                Some(user) => user.clone(),
                None => {
                    let user = self.user(&token.user).await?.map(|(user, _)| user);
                    let sees = |user: &User| {
                        is_self(principal, user.name.as_str())
                            || may_read_user(principal, &user.grants).is_ok()
                    };
                    let user = user.filter(sees);
                    users.insert(token.user.clone(), user.clone());
                    user
                }
            };
            // Not those of somebody who had this name before.
            let counts = |user: &User| {
                token.expires_unix_s > now && token.created_unix_s >= user.created_unix_s
            };
            if let Some(user) = user.filter(counts) {
                seen.push((entry, token, user));
            }
        }
        Ok(seen)
    }
}

/// Characters of an id: 64 bits of 10,000 hashes are never twice the same by chance.
const ID_CHARS: usize = 16;

/// By what people call a token.
fn id(key: &Key) -> String {
    let hash = key.as_str().rsplit('/').next().unwrap_or_default();
    hash.chars().take(ID_CHARS).collect()
}

/// Whether a text can be an id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
