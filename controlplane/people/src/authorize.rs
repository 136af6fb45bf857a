//! The one judgement: may this principal do this here?
//!
//! Also its two relatives: which part of a list somebody sees, and what somebody may give to others. Who is asking has
//! been proved before; whether the thing exists is not known here, so no answer can tell it.

use core::fmt;
use std::collections::BTreeSet;

use crate::principal::{How, Principal};
use crate::role::{Grant, Scope};
use crate::verb::{Reach, Verb};

/// Not granted. The text depends on the verb alone: not on the thing, nor on where it is, nor on whether it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    verb: Verb,
}

impl Denied {
    /// What was not granted.
    #[must_use]
    pub const fn verb(self) -> Verb {
        self.verb
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not granted to you here; ask an administrator for a role that has it",
            self.verb
        )
    }
}

impl core::error::Error for Denied {}

/// Which part of a list somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed by nature")]
pub enum Visible {
    /// All of it.
    All,
    /// What is in these subaccounts; sorted, each once, never empty.
    Some(Vec<String>),
    /// Nothing.
    None,
}

impl Visible {
    /// Whether something in `scope` is seen.
    #[must_use]
    pub fn shows(&self, scope: &Scope) -> bool {
        match (self, scope) {
            (Self::All, _) => true,
            (Self::Some(names), Scope::Subaccount(name)) => names.contains(name),
            (Self::Some(_), Scope::All) | (Self::None, _) => false,
        }
    }
}

/// Judges whether `principal` may do `verb` to a thing in `scope`.
///
/// [`Scope::All`] stands for what belongs to no subaccount, and for all of them at once. A verb of [`Reach::Global`]
/// counts only in all, whatever `scope` says.
///
/// # Errors
/// [`Denied`], whose text is the same whether the thing exists or not.
pub fn authorize(principal: &Principal, verb: Verb, scope: &Scope) -> Result<(), Denied> {
    if principal.how == How::Setup && verb != Verb::UsersWrite {
        return Err(Denied { verb });
    }
    if has(&principal.grants, verb, scope) {
        Ok(())
    } else {
        Err(Denied { verb })
    }
}

/// What `principal` sees of a list that `verb` reads.
#[must_use]
pub fn visible(principal: &Principal, verb: Verb) -> Visible {
    if authorize(principal, verb, &Scope::All).is_ok() {
        return Visible::All;
    }
    let names: BTreeSet<&String> = principal
        .grants
        .iter()
        .filter(|grant| authorize(principal, verb, &grant.scope).is_ok())
        .filter_map(|grant| match &grant.scope {
            Scope::All => None,
            Scope::Subaccount(name) => Some(name),
        })
        .collect();
    if names.is_empty() {
        Visible::None
    } else {
        Visible::Some(names.into_iter().cloned().collect())
    }
}

/// Judges whether `principal` may make or change a user who holds `grants`. Ask for the grants before a change and
/// for those after it: a new password is worth what its user may do.
///
/// Nobody gives more than they hold. A user without grants belongs to no subaccount, so to who may do this in all.
///
/// # Errors
/// [`Denied`] when `users-write` is missing where a grant counts, or a verb of it is not held there.
pub fn may_grant(principal: &Principal, grants: &[Grant]) -> Result<(), Denied> {
    let denied = Denied {
        verb: Verb::UsersWrite,
    };
    if grants.is_empty() {
        return authorize(principal, Verb::UsersWrite, &Scope::All);
    }
    for grant in grants {
        authorize(principal, Verb::UsersWrite, &grant.scope)?;
        // Today whoever has `users-write` holds everything there; a later role may not.
        if !holds(&principal.grants, grant) {
            return Err(denied);
        }
    }
    Ok(())
}

/// Judges whether `principal` may see a user who holds `grants`: all of them must lie where `users-read` is granted.
///
/// # Errors
/// [`Denied`] otherwise; the server answers as if there were no such user.
pub fn may_read_user(principal: &Principal, grants: &[Grant]) -> Result<(), Denied> {
    if grants.is_empty() {
        return authorize(principal, Verb::UsersRead, &Scope::All);
    }
    grants
        .iter()
        .try_for_each(|grant| authorize(principal, Verb::UsersRead, &grant.scope))
}

/// What is left of `wanted` for somebody who holds `held`: those that are held in full.
///
/// For API tokens, which never may more than their owner does at that moment.
#[must_use]
pub fn narrowed(held: &[Grant], wanted: &[Grant]) -> Vec<Grant> {
    wanted
        .iter()
        .filter(|grant| holds(held, grant))
        .cloned()
        .collect()
}

/// Whether each verb of `grant` is among what `held` gives in its scope.
fn holds(held: &[Grant], grant: &Grant) -> bool {
    Verb::ALL
        .iter()
        .filter(|verb| verb.is_for(grant.role))
        // A global verb of a role in one subaccount is nothing, so nothing has to be held for it.
        .filter(|verb| grant.scope == Scope::All || verb.reach() == Reach::Subaccount)
        .all(|verb| has(held, *verb, &grant.scope))
}

fn has(grants: &[Grant], verb: Verb, scope: &Scope) -> bool {
    let needed = match verb.reach() {
        Reach::Global => &Scope::All,
        Reach::Subaccount => scope,
    };
    grants
        .iter()
        .any(|grant| verb.is_for(grant.role) && grant.scope.covers(needed))
}
