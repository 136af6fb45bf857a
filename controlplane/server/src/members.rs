//! Users in the store, and the first of them.
//!
//! Who may do what is `people`'s; here records are read and written. Passwords are `passwords`'s, logins `bearers`'s,
//! the tokens of programs `tokens`'s, and certificates `certified`'s.

mod bearers;
mod certified;
mod passwords;
mod tokens;

use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use adit_api as api;
use adit_people::bearer::{Kind, Secret, Setup};
use adit_people::limits::GRANTS_MAX;
use adit_people::{
    Grant, How, Principal, Role, Scope, Throttle, User, UserName, may_grant, may_read_user,
};
use adit_store::{Key, Revision, Store, Txn};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::acts::{Acts, By, Deed};
use crate::clock;
use crate::keys;
use crate::limits::{HASHERS_MAX, PAGE_ITEMS_MAX, SETUP_LIFE};
use crate::oidc::Oidc;
use crate::scan;
use crate::trouble::Trouble;
use bearers::Bearer;
pub(crate) use bearers::Known;
pub(crate) use tokens::is_id;

/// Reads and changes people.
#[derive(Debug)]
pub(crate) struct Members {
    store: Arc<dyn Store>,
    acts: Acts,
    oidc: Option<Arc<Oidc>>,
    throttle: Mutex<Throttle>,
    hashers: Arc<Semaphore>,
    begun: Instant,
}

impl Members {
    pub(crate) fn new(store: Arc<dyn Store>, acts: Acts, oidc: Option<Arc<Oidc>>) -> Self {
        Self {
            store,
            acts,
            oidc,
            throttle: Mutex::new(Throttle::new()),
            hashers: Arc::new(Semaphore::new(HASHERS_MAX)),
            begun: Instant::now(),
        }
    }

    /// A setup token, while there is no user. An earlier one counts no more.
    pub(crate) async fn setup_token(&self, server: &str) -> Result<Option<String>, Trouble> {
        let key = keys::setup();
        let earlier = self.store.get(&key).await?;
        if self.has_users().await? {
            return Ok(None);
        }
        let secret = Secret::fresh(Kind::Setup, &SystemRandom::new()).map_err(no_random)?;
        let now = clock::unix_s();
        let setup = Setup {
            hash: secret.hash(),
            created_unix_s: now,
            expires_unix_s: now + SETUP_LIFE.as_secs(),
        };
        // Only if nobody has used the earlier one, or made another, since we looked for users.
        let txn = match &earlier {
            Some(entry) => Txn::new().at(key.clone(), entry.revision),
            None => Txn::new().absent(key.clone()),
        };
        let txn = txn.put(key, keys::write(&setup));
        let by = By {
            who: format!("server {server}"),
            fingerprint: None,
            request_id: String::new(),
        };
        let deed = deed("setup-token", "setup", String::new());
        match self.acts.commit(&by, &deed, &txn).await {
            Ok(_) => Ok(Some(secret.reveal())),
            // Another server was first; its file has the token.
            Err(adit_store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn has_users(&self) -> Result<bool, Trouble> {
        let page = self.store.list(&keys::users(), None, 1).await?;
        Ok(!page.entries.is_empty())
    }

    /// Makes the first user, an administrator of everything. The token works once.
    pub(crate) async fn set_up(
        &self,
        wish: api::Setup,
        source: IpAddr,
        request_id: &str,
    ) -> Result<api::Token, Trouble> {
        self.may_try("setup", source)?;
        let refused = || {
            Trouble::Unauthenticated(
                "this setup token cannot be used: it was used before or has ended",
            )
        };
        let key = keys::setup();
        let entry = self.store.get(&key).await?.ok_or_else(refused)?;
        let setup: Setup = keys::read(&key, entry.value.as_bytes())?;
        let secret = Secret::parse(&wish.token).ok();
        let principal = secret.and_then(|secret| setup.principal(&secret, clock::unix_s()));
        if principal.is_none() || self.has_users().await? {
            return Err(refused());
        }
        let name = user_name(&wish.user)?;
        let hash = self.hash(wish.password, name.clone()).await?;
        let user = User::new(
            name.clone(),
            Some(hash),
            vec![Grant::all(Role::Administrator)],
            clock::unix_s(),
        );
        let user_key = keys::user(&name);
        let txn = Txn::new()
            .at(key.clone(), entry.revision)
            .delete(key)
            .absent(user_key.clone())
            .put(user_key, keys::write(&user));
        let by = By {
            who: "setup".to_owned(),
            fingerprint: None,
            request_id: request_id.to_owned(),
        };
        let deed = deed(
            "users-create",
            name.as_str(),
            "administrator of everything".to_owned(),
        );
        match self.acts.commit(&by, &deed, &txn).await {
            Err(adit_store::Error::Conflict { .. }) => return Err(refused()),
            done => done?,
        };
        self.throttle.lock().succeeded("setup", source);
        self.open_login(&user, request_id).await
    }

    /// A page of users that `principal` may see.
    pub(crate) async fn list(
        &self,
        principal: &Principal,
        after: Option<&Key>,
        items_max: usize,
    ) -> Result<(Vec<api::User>, Option<String>), Trouble> {
        let mut items: Vec<api::User> = Vec::new();
        let mut cursor = after.cloned();
        let mut last = None;
        loop {
            let page = self
                .store
                .list(&keys::users(), cursor.as_ref(), PAGE_ITEMS_MAX)
                .await?;
            cursor = page.entries.last().map(|entry| entry.key.clone());
            for (entry, user) in scan::read::<User>(page.entries)?.known {
                if may_read_user(principal, &user.grants).is_err() {
                    continue;
                }
                if items.len() >= items_max {
                    // Where to go on is said by a name that the caller sees.
                    return Ok((items, last));
                }
                items.push(shown(&user));
                last = Some(entry.key.to_string());
            }
            if !page.more {
                return Ok((items, None));
            }
        }
    }

    /// One user, if `principal` may see them.
    pub(crate) async fn get(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<(api::User, Revision), Trouble> {
        let (user, revision) = self.found(name).await?;
        may_read_user(principal, &user.grants).map_err(|_denied| no_user(name))?;
        Ok((shown(&user), revision))
    }

    /// Makes a user.
    pub(crate) async fn create(
        &self,
        by: &By,
        principal: &Principal,
        wish: api::NewUser,
    ) -> Result<(api::User, Revision), Trouble> {
        let grants = grants(&wish.grants)?;
        may_grant(principal, &grants).map_err(denied)?;
        let name = user_name(&wish.name)?;
        let hash = match (wish.password, wish.certificate) {
            (Some(password), false) => Some(self.hash(password, name.clone()).await?),
            (None, true) => None,
            (Some(_), true) | (None, false) => {
                return Err(Trouble::Invalid(
                    "a user has a password, or comes by certificate: send `password` or `certificate`: true"
                        .to_owned(),
                ));
            }
        };
        let user = User::new(name.clone(), hash, grants, clock::unix_s());
        let key = keys::user(&name);
        let txn = Txn::new().absent(key.clone()).put(key, keys::write(&user));
        let mut detail = words(&user.grants);
        if user.comes_by_certificate() {
            detail.push_str(", comes by certificate");
        }
        let deed = deed("users-create", name.as_str(), detail);
        match self.acts.commit(by, &deed, &txn).await {
            Ok(revision) => Ok((shown(&user), revision)),
            Err(adit_store::Error::Conflict { .. }) => Err(Trouble::Conflict(format!(
                "there is a user {name} already, or was a moment ago"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a user.
    pub(crate) async fn change(
        &self,
        by: &By,
        principal: &Principal,
        name: &str,
        base: Revision,
        wish: api::UserChange,
    ) -> Result<(api::User, Revision), Trouble> {
        if is_self(principal, name) && (wish.grants.is_some() || wish.disabled == Some(true)) {
            return Err(Trouble::Conflict(
                "nobody changes what they may do themselves; ask another administrator".to_owned(),
            ));
        }
        let mut user = self.writable(principal, name, base).await?;
        let now = clock::unix_s();
        let mut what = Vec::new();
        if let Some(wanted) = &wish.grants {
            let wanted = grants(wanted)?;
            may_grant(principal, &wanted).map_err(denied)?;
            what.push(format!(
                "{} in place of {}",
                words(&wanted),
                words(&user.grants)
            ));
            user.grants = wanted;
        }
        if let Some(disabled) = wish.disabled {
            what.push(if disabled { "disabled" } else { "enabled" }.to_owned());
            user.disabled = disabled;
        }
        if let Some(password) = wish.password {
            if user.comes_by_certificate() {
                return Err(Trouble::Conflict(format!(
                    "{name} comes by certificate; nobody is known both ways. Take them away and make them anew"
                )));
            }
            let hash = self.hash(password, user.name.clone()).await?;
            user.set_password(Some(hash), now);
            what.push("new password".to_owned());
        }
        user.changed_unix_s = now;
        let key = keys::user(&user.name);
        let txn = Txn::new()
            .at(key.clone(), base)
            .put(key, keys::write(&user));
        let revision = self
            .acts
            .commit(by, &deed("users-change", name, what.join(", ")), &txn)
            .await?;
        Ok((shown(&user), revision))
    }

    /// Takes a user away; their logins and tokens count no more.
    pub(crate) async fn remove(
        &self,
        by: &By,
        principal: &Principal,
        name: &str,
        base: Revision,
    ) -> Result<(), Trouble> {
        if is_self(principal, name) {
            return Err(Trouble::Conflict(
                "nobody takes themselves away; ask another administrator".to_owned(),
            ));
        }
        let user = self.writable(principal, name, base).await?;
        let key = keys::user(&user.name);
        let txn = Txn::new().at(key.clone(), base).delete(key);
        self.acts
            .commit(by, &deed("users-remove", name, String::new()), &txn)
            .await?;
        // They count no more already, also for the next one of this name: the user is gone, whatever comes of this.
        if let Err(error) = self.clear_bearers(&user.name).await {
            tracing::warn!(user = name, %error, "what somebody who was taken away had open is left until it ends");
        }
        Ok(())
    }

    async fn clear_bearers(&self, user: &UserName) -> Result<(), adit_store::Error> {
        let found = scan::records::<Bearer>(&*self.store, &keys::bearers()).await?;
        for (entry, bearer) in found.known {
            if bearer.user() == user {
                let gone = Txn::new().delete(entry.key);
                self.store.commit(&gone).await?;
            }
        }
        Ok(())
    }

    async fn writable(
        &self,
        principal: &Principal,
        name: &str,
        base: Revision,
    ) -> Result<User, Trouble> {
        let (user, revision) = self.found(name).await?;
        // Whoever may not see them does not hear that they are there.
        may_read_user(principal, &user.grants).map_err(|_denied| no_user(name))?;
        may_grant(principal, &user.grants).map_err(denied)?;
        if revision != base {
            return Err(Trouble::Stale(format!(
                "user {name} was changed by somebody else; read it again"
            )));
        }
        Ok(user)
    }

    async fn found(&self, name: &str) -> Result<(User, Revision), Trouble> {
        let wanted = UserName::from_str(name).map_err(|_bad_name| no_user(name))?;
        self.user(&wanted).await?.ok_or_else(|| no_user(name))
    }

    async fn user(&self, name: &UserName) -> Result<Option<(User, Revision)>, Trouble> {
        let key = keys::user(name);
        match self.store.get(&key).await? {
            Some(entry) => Ok(Some((
                keys::read(&key, entry.value.as_bytes())?,
                entry.revision,
            ))),
            None => Ok(None),
        }
    }

    fn may_try(&self, user: &str, source: IpAddr) -> Result<(), Trouble> {
        let tried = self
            .throttle
            .lock()
            .attempt(user, source, self.begun.elapsed());
        tried.map_err(|wait| Trouble::Throttled {
            retry_after_s: wait.0.max(Duration::from_secs(1)).as_secs(),
        })
    }
}

/// Whether this is about the caller; the console is nobody's.
fn is_self(principal: &Principal, name: &str) -> bool {
    principal.name == name
        && matches!(
            principal.how,
            How::Local | How::ApiToken { .. } | How::Certificate { .. }
        )
}

fn user_name(text: &str) -> Result<UserName, Trouble> {
    UserName::from_str(text).map_err(|bad| Trouble::Invalid(format!("user: {bad}")))
}

fn grants(wanted: &[api::Grant]) -> Result<Vec<Grant>, Trouble> {
    if wanted.len() > GRANTS_MAX {
        return Err(Trouble::Invalid(format!("grants: at most {GRANTS_MAX}")));
    }
    let mut grants: Vec<Grant> = wanted.iter().map(grant).collect::<Result<_, _>>()?;
    grants.sort();
    grants.dedup();
    Ok(grants)
}

fn grant(wanted: &api::Grant) -> Result<Grant, Trouble> {
    let role = match wanted.role {
        api::Role::Administrator => Role::Administrator,
        api::Role::Operator => Role::Operator,
        api::Role::Auditor => Role::Auditor,
        api::Role::Viewer => Role::Viewer,
    };
    match &wanted.scope {
        api::Scope::All => Ok(Grant::all(role)),
        api::Scope::Subaccount(name) if adit_people::is_subaccount(name) => {
            Ok(Grant::in_subaccount(role, name))
        }
        api::Scope::Subaccount(name) => Err(Trouble::Invalid(format!(
            "grants: {name:?} can be no subaccount"
        ))),
    }
}

/// Grants as the door shows them.
pub(crate) fn shown_grants(grants: &[Grant]) -> Vec<api::Grant> {
    let one = |grant: &Grant| api::Grant {
        role: match grant.role {
            Role::Administrator => api::Role::Administrator,
            Role::Operator => api::Role::Operator,
            Role::Auditor => api::Role::Auditor,
            Role::Viewer => api::Role::Viewer,
        },
        scope: match &grant.scope {
            Scope::All => api::Scope::All,
            Scope::Subaccount(name) => api::Scope::Subaccount(name.clone()),
        },
    };
    grants.iter().map(one).collect()
}

fn shown(user: &User) -> api::User {
    api::User {
        name: user.name.to_string(),
        grants: shown_grants(&user.grants),
        certificate: user.comes_by_certificate(),
        disabled: user.disabled,
        created_unix_s: user.created_unix_s,
    }
}

fn words(grants: &[Grant]) -> String {
    let words: Vec<String> = grants.iter().map(ToString::to_string).collect();
    words.join(" ")
}

fn deed(verb: &'static str, what: &str, detail: String) -> Deed {
    Deed {
        verb,
        subaccount: None,
        what: what.to_owned(),
        detail,
    }
}

fn no_user(name: &str) -> Trouble {
    Trouble::NotFound(format!("there is no user {name:?}"))
}

fn denied(denied: adit_people::Denied) -> Trouble {
    Trouble::Denied(denied.to_string())
}

fn no_random(_nothing_to_tell: ring::error::Unspecified) -> Trouble {
    Trouble::Internal("the system gives no random numbers".to_owned())
}

#[cfg(test)]
mod tests;
