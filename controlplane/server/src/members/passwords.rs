//! Passwords: hashed and checked off the loop, a few at a time, and changed by whom they are of.

use std::net::IpAddr;
use std::sync::Arc;

use adit_api as api;
use adit_people::password::{PasswordHash, verify};
use adit_people::{How, UserName};
use adit_store::{Error, Txn};
use ring::rand::SystemRandom;

use super::bearers::{Bearer, Known};
use super::{Members, deed, user_name};
use crate::acts::By;
use crate::clock;
use crate::keys;
use crate::metrics;
use crate::trouble::Trouble;

impl Members {
    /// A new password for whoever asks and knows the old one. Their other logins end; tokens of programs go on.
    pub(crate) async fn change_password(
        &self,
        by: &By,
        known: &Known,
        wish: api::PasswordChange,
        source: IpAddr,
    ) -> Result<(), Trouble> {
        let (How::Local, Some(bearer_key)) = (&known.principal.how, &known.bearer) else {
            return Err(Trouble::Denied(
                "only a local user who has logged in has a password to change".to_owned(),
            ));
        };
        let name = user_name(&known.principal.name)?;
        self.may_try(name.as_str(), source)?;
        let gone = || Trouble::Stale("you were changed by somebody else; log in again".to_owned());
        let (mut user, revision) = self.user(&name).await?.ok_or_else(gone)?;
        if !self.is_right(wish.old, user.password.clone()).await? {
            metrics::login_refused();
            tracing::warn!(user = %name, %source, "a change of a password was refused");
            return Err(Trouble::Denied(
                "this is not the password that counts now; nothing was changed".to_owned(),
            ));
        }
        self.throttle.lock().succeeded(name.as_str(), source);
        let hash = self.hash(wish.new, name.clone()).await?;
        user.set_password(Some(hash), clock::unix_s());
        let entry = self.store.get(bearer_key).await?.ok_or_else(gone)?;
        let mut bearer: Bearer = keys::read(bearer_key, entry.value.as_bytes())?;
        if let Bearer::Login(login) = &mut bearer {
            // The one that asks goes on.
            login.password_version = user.password_version;
        }
        let user_key = keys::user(&name);
        let txn = Txn::new()
            .at(user_key.clone(), revision)
            .put(user_key, keys::write(&user))
            .at(bearer_key.clone(), entry.revision)
            .put(bearer_key.clone(), keys::write(&bearer));
        let deed = deed("users-password", name.as_str(), "by themselves".to_owned());
        match self.acts.commit(by, &deed, &txn).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { .. }) => Err(gone()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a password is the one of a hash; takes as long where there is none.
    pub(super) async fn is_right(
        &self,
        password: String,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Trouble> {
        self.in_turn(move || verify(&password, hash.as_ref())).await
    }

    pub(super) async fn hash(
        &self,
        password: String,
        name: UserName,
    ) -> Result<PasswordHash, Trouble> {
        let hashed =
            self.in_turn(move || PasswordHash::new(&password, &name, &SystemRandom::new()));
        hashed
            .await?
            .map_err(|bad| Trouble::Invalid(format!("password: {bad}")))
    }

    /// Does what takes memory and a core. The turn is the work's: whoever asked may be gone before it has ended.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let turn = Arc::clone(&self.hashers).acquire_owned().await;
        let turn = turn.map_err(|error| ended(&error))?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map_err(|error| ended(&error))
    }
}

fn ended(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Internal(format!("hashing a password ended: {error}"))
}
