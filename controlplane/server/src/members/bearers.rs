//! Logins, and tokens of programs: what somebody shows to be known.
//!
//! Only hashes of their secrets are stored. Nothing is believed of a bearer but what its record, and its user's, say now.

use std::net::IpAddr;
use std::str::FromStr as _;

use adit_api as api;
use adit_people::bearer::{ApiToken, Kind, Login, LoginKind, Secret};
use adit_people::{Principal, User, UserName};
use adit_store::{Key, Txn};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::{Members, deed, no_random};
use crate::acts::{By, Deed};
use crate::clock;
use crate::keys;
use crate::limits::{BEARERS_MAX, BEARERS_OF_ONE_MAX, LOGIN_LIFE, TOKENS_OF_ONE_MAX};
use crate::metrics;
use crate::scan;
use crate::trouble::Trouble;

/// What a bearer stands for, under the hash of its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bearer {
    Login(Login),
    ApiToken(ApiToken),
}

impl Bearer {
    pub(super) fn user(&self) -> &UserName {
        match self {
            Self::Login(login) => &login.user,
            Self::ApiToken(token) => &token.user,
        }
    }

    pub(super) fn created_unix_s(&self) -> u64 {
        match self {
            Self::Login(login) => login.created_unix_s,
            Self::ApiToken(token) => token.created_unix_s,
        }
    }

    fn expires_unix_s(&self) -> u64 {
        match self {
            Self::Login(login) => login.expires_unix_s,
            Self::ApiToken(token) => token.expires_unix_s,
        }
    }
}

/// What is heard of a bearer that only a newer version knows whole.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Heard {
    Login(Owned),
    ApiToken(Owned),
}

#[derive(Deserialize)]
struct Owned {
    user: UserName,
}

/// Who asks, and by which record if by one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) principal: Principal,
    pub(super) bearer: Option<Key>,
}

impl Members {
    /// A token for whoever knows the password.
    pub(crate) async fn log_in(
        &self,
        wish: api::Login,
        source: IpAddr,
        request_id: &str,
    ) -> Result<api::Token, Trouble> {
        self.may_try(&wish.user, source)?;
        let user = match UserName::from_str(&wish.user) {
            Ok(name) => self.user(&name).await?.map(|(user, _)| user),
            Err(_) => None,
        };
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let right = self.is_right(wish.password, hash).await?;
        // People also type their password where the name belongs: only names that are some are logged.
        let name = user.as_ref().map(|user| user.name.to_string());
        let user = user.filter(|user| right && !user.disabled);
        let Some(user) = user else {
            metrics::login_refused();
            let user = name.as_deref().unwrap_or("(unknown)");
            tracing::warn!(user, %source, "login refused");
            return Err(Trouble::Unauthenticated("wrong name or password"));
        };
        self.throttle.lock().succeeded(&wish.user, source);
        self.open_login(&user, request_id).await
    }

    /// Ends the login, or the token, by which somebody asks.
    pub(crate) async fn log_out(&self, by: &By, known: &Known) -> Result<(), Trouble> {
        let Some(key) = &known.bearer else {
            return Err(Trouble::Conflict(
                "nothing was opened here that could be ended: an identity provider's token ends there, and a certificate \
                 by itself"
                    .to_owned(),
            ));
        };
        let txn = Txn::new().delete(key.clone());
        self.acts
            .commit(
                by,
                &deed("logout", &known.principal.name, String::new()),
                &txn,
            )
            .await?;
        Ok(())
    }

    /// Who a bearer is.
    pub(crate) async fn known(&self, bearer: &str) -> Result<Known, Trouble> {
        let refused =
            || Trouble::Unauthenticated("this token does not count, or no longer; log in");
        let now = clock::unix_s();
        let Ok(secret) = Secret::parse(bearer) else {
            let oidc = self.oidc.as_ref().ok_or_else(refused)?;
            let principal = oidc.principal(bearer, now).await.ok_or_else(refused)?;
            return Ok(Known {
                principal,
                bearer: None,
            });
        };
        let key = keys::bearer(&secret.hash().to_string());
        let entry = self.store.get(&key).await?.ok_or_else(refused)?;
        let bearer: Bearer = keys::read(&key, entry.value.as_bytes())?;
        let (user, _) = self.user(bearer.user()).await?.ok_or_else(refused)?;
        if bearer.created_unix_s() < user.created_unix_s {
            // Of somebody who had this name before.
            return Err(refused());
        }
        let principal = match &bearer {
            Bearer::Login(login) if secret.kind() == Kind::Login => login.principal(&user, now),
            Bearer::ApiToken(token) if secret.kind() == Kind::ApiToken => {
                token.principal(&user, now)
            }
            Bearer::Login(_) | Bearer::ApiToken(_) => None,
        };
        Ok(Known {
            principal: principal.ok_or_else(refused)?,
            bearer: Some(key),
        })
    }

    pub(super) async fn open_login(
        &self,
        user: &User,
        request_id: &str,
    ) -> Result<api::Token, Trouble> {
        let login = Login::new(
            user,
            LoginKind::CommandLine,
            clock::unix_s(),
            LOGIN_LIFE.as_secs(),
        );
        let by = By {
            who: user.name.to_string(),
            fingerprint: None,
            request_id: request_id.to_owned(),
        };
        self.keep(
            &by,
            &deed("login", user.name.as_str(), String::new()),
            Kind::Login,
            &Bearer::Login(login),
        )
        .await
    }

    pub(super) async fn keep(
        &self,
        by: &By,
        deed: &Deed,
        kind: Kind,
        bearer: &Bearer,
    ) -> Result<api::Token, Trouble> {
        let open = self.clear_ended(bearer.user()).await?;
        if open.all >= BEARERS_MAX {
            return Err(Trouble::Conflict(format!(
                "{BEARERS_MAX} logins and tokens are open; end some"
            )));
        }
        // Tokens do not end by themselves: as many as there is room for would lock their owner out.
        if kind == Kind::ApiToken && open.own_tokens >= TOKENS_OF_ONE_MAX {
            return Err(Trouble::Conflict(format!(
                "{TOKENS_OF_ONE_MAX} tokens are open; end some"
            )));
        }
        if open.own_logins + open.own_tokens >= BEARERS_OF_ONE_MAX
            && let Some((_, oldest)) = open.oldest_login
        {
            self.store.commit(&Txn::new().delete(oldest)).await?;
        }
        let secret = Secret::fresh(kind, &SystemRandom::new()).map_err(no_random)?;
        let key = keys::bearer(&secret.hash().to_string());
        let txn = Txn::new().absent(key.clone()).put(key, keys::write(bearer));
        self.acts.commit(by, deed, &txn).await?;
        Ok(api::Token {
            token: secret.reveal(),
            user: bearer.user().to_string(),
            expires_unix_s: bearer.expires_unix_s(),
        })
    }

    /// Takes away what has ended, and says what is left, also of `user`.
    async fn clear_ended(&self, user: &UserName) -> Result<Open, Trouble> {
        let now = clock::unix_s();
        let mut open = Open::default();
        let found = scan::records::<Bearer>(&*self.store, &keys::bearers()).await?;
        // Nobody here says when these end, and whose they are only where that is heard of them.
        for entry in found.newer {
            open.all += 1;
            match keys::hear(&entry.key, entry.value.as_bytes()) {
                Ok(Heard::Login(of)) if of.user == *user => open.own_logins += 1,
                Ok(Heard::ApiToken(of)) if of.user == *user => open.own_tokens += 1,
                Ok(_) | Err(_) => {}
            }
        }
        for (entry, bearer) in found.known {
            if bearer.expires_unix_s() > now {
                open.all += 1;
                if bearer.user() != user {
                    continue;
                }
                let Bearer::Login(login) = &bearer else {
                    open.own_tokens += 1;
                    continue;
                };
                open.own_logins += 1;
                let this = (login.created_unix_s, entry.key);
                open.oldest_login = match open.oldest_login.take() {
                    Some(known) if known.0 <= this.0 => Some(known),
                    _ => Some(this),
                };
            } else {
                let gone = Txn::new()
                    .at(entry.key.clone(), entry.revision)
                    .delete(entry.key);
                // Another server may have done it.
                let _ = self.store.commit(&gone).await;
            }
        }
        Ok(open)
    }
}

/// Logins and tokens that have not ended, as far as this version knows.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    own_logins: usize,
    own_tokens: usize,
    oldest_login: Option<(u64, Key)>,
}
