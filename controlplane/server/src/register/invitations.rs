//! Invitations: who may become a node, told once, and taken back.
//!
//! Only the hash of a secret is stored. Using one is the register's.

use adit_api::{Invitation, Invite, Invited, NodeRole};
use adit_store::{Key, Txn};
use serde::{Deserialize, Serialize};

use super::{Register, deed};
use crate::acts::By;
use crate::clock;
use crate::keys;
use crate::limits::{INVITATION_LIFE, INVITATIONS_HERE_MAX, INVITATIONS_MAX};
use crate::place::NodeId;
use crate::scan;
use crate::trouble::Trouble;

/// An invitation as it is stored, under the hash of its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) node: String,
    pub(super) location: String,
    pub(super) by: String,
    pub(super) expires_unix_s: u64,
}

impl Register {
    /// Invites a node. The secret is in the answer and nowhere else.
    pub(crate) async fn invite(
        &self,
        by: &By,
        id: &NodeId,
        wish: &Invite,
    ) -> Result<Invited, Trouble> {
        let now = clock::unix_s();
        let (all, here) = self.clear_ended(now, id).await?;
        for (open, most) in [(here, INVITATIONS_HERE_MAX), (all, INVITATIONS_MAX)] {
            if open >= most {
                return Err(Trouble::Conflict(format!(
                    "{most} invitations are open; take some back, or wait until they end"
                )));
            }
        }
        let invitation = self.life.invitation()?;
        let expires_unix_s = now + INVITATION_LIFE.as_secs();
        let stored = Stored {
            node: id.to_string(),
            location: wish.location.clone(),
            by: by.who.clone(),
            expires_unix_s,
        };
        let key = keys::invitation(&invitation.hash());
        let txn = Txn::new()
            .absent(key.clone())
            .put(key, keys::write(&stored));
        let detail = match id.role {
            NodeRole::Agent => format!("location {:?}", wish.location),
            NodeRole::Gateway => String::new(),
        };
        self.acts
            .commit(by, &deed("nodes-invite", id, detail), &txn)
            .await?;
        Ok(Invited {
            token: invitation.text(),
            name: id.name().to_owned(),
            expires_unix_s,
        })
    }

    /// Invitations that can still be used.
    pub(crate) async fn invitations(
        &self,
        wanted: impl Fn(&NodeId) -> bool,
    ) -> Result<Vec<Invitation>, Trouble> {
        let now = clock::unix_s();
        let mut items = Vec::new();
        let found = scan::records::<Stored>(&*self.store, &keys::invitations()).await?;
        for (entry, stored) in found.known {
            let Some(id) = NodeId::parse(&stored.node).filter(&wanted) else {
                continue;
            };
            if stored.expires_unix_s > now {
                items.push(Invitation {
                    id: short(&entry.key),
                    role: id.role,
                    subaccount: id.subaccount().map(str::to_owned),
                    location: stored.location,
                    name: id.name().to_owned(),
                    by: stored.by,
                    expires_unix_s: stored.expires_unix_s,
                });
            }
        }
        Ok(items)
    }

    /// Takes an invitation back.
    pub(crate) async fn take_back(
        &self,
        by: &By,
        invitation: &str,
        wanted: impl Fn(&NodeId) -> bool,
    ) -> Result<(), Trouble> {
        for entry in scan::all(&*self.store, &keys::invitations()).await? {
            if short(&entry.key) != invitation {
                continue;
            }
            let stored: Stored = keys::read(&entry.key, entry.value.as_bytes())?;
            let Some(id) = NodeId::parse(&stored.node).filter(&wanted) else {
                continue;
            };
            let txn = Txn::new()
                .at(entry.key.clone(), entry.revision)
                .delete(entry.key);
            self.acts
                .commit(by, &deed("nodes-uninvite", &id, String::new()), &txn)
                .await?;
            return Ok(());
        }
        Err(Trouble::NotFound(
            "there is no such invitation; it was used, or has ended".to_owned(),
        ))
    }

    /// Takes away what has ended, and says how many invitations are left, and how many where `like` belongs.
    async fn clear_ended(&self, now: u64, like: &NodeId) -> Result<(usize, usize), Trouble> {
        let (mut left, mut here) = (0, 0);
        let is_here = |stored: &Stored| {
            NodeId::parse(&stored.node).is_some_and(|of| of.subaccount() == like.subaccount())
        };
        let found = scan::records::<Stored>(&*self.store, &keys::invitations()).await?;
        // Nobody here says when these end, and where they belong only where that is heard of them.
        for entry in found.newer {
            left += 1;
            let heard = keys::hear(&entry.key, entry.value.as_bytes());
            here += usize::from(heard.is_ok_and(|stored| is_here(&stored)));
        }
        for (entry, stored) in found.known {
            if stored.expires_unix_s > now {
                left += 1;
                here += usize::from(is_here(&stored));
            } else {
                let txn = Txn::new()
                    .at(entry.key.clone(), entry.revision)
                    .delete(entry.key);
                // Somebody else may have done it.
                let _ = self.store.commit(&txn).await;
            }
        }
        Ok((left, here))
    }
}

/// What stands for an invitation where its hash is not to be shown whole.
fn short(key: &Key) -> String {
    let hash = key.as_str().rsplit('/').next().unwrap_or_default();
    hash.chars().take(16).collect()
}
