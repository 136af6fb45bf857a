//! Who may put rules in force here: the keys that count, and the name under which this agent is meant.
//!
//! Without a key whoever can open the admin socket may push, signed or not; with one, only a signer may.

use std::sync::Arc;

use adit_manifest::{PublicKey, Refused, Stamp, is_document, verify};
use arc_swap::ArcSwapOption;

use crate::enforce::InForce;
use crate::settings::Settings;

/// The keys that count here, and the audience that this agent is.
#[derive(Clone, Debug)]
pub(crate) struct Signers {
    /// `None` where no key was named. Shared by all clones.
    keys: Arc<ArcSwapOption<Vec<PublicKey>>>,
    audience: Arc<str>,
}

/// What was pushed, taken apart.
#[derive(Debug)]
pub(crate) struct Pushed<'a> {
    /// The rules.
    pub(crate) rules: &'a str,
    /// The signer's version; `None` for rules that came unsigned.
    pub(crate) stamp: Option<Stamp>,
    /// Whose signature counted.
    pub(crate) signed_by: Option<String>,
    /// It is in force already.
    pub(crate) is_same: bool,
}

impl Signers {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            keys: Arc::new(ArcSwapOption::from_pointee(settings.signing_keys.clone())),
            audience: format!("{}/{}", settings.subaccount, settings.location).into(),
        }
    }

    /// From now on these keys count and no others; with none of them nothing does.
    pub(crate) fn count_only(&self, keys: Vec<PublicKey>) {
        self.keys.store(Some(Arc::new(keys)));
    }

    /// Takes `text` apart, and holds it against what is in force.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn open<'a>(
        &self,
        text: &'a str,
        in_force: Option<&InForce>,
    ) -> Result<Pushed<'a>, Refused> {
        let keys = self.keys.load_full();
        let signers = match &keys {
            Some(keys) => adit_manifest::Signers::Keys(keys),
            None if is_document(text.as_bytes()) => adit_manifest::Signers::Anybody,
            None => {
                return Ok(Pushed {
                    rules: text,
                    stamp: None,
                    signed_by: None,
                    is_same: false,
                });
            }
        };
        let in_force = in_force.and_then(|in_force| {
            Some(adit_manifest::InForce {
                stamp: in_force.stamp?,
                sha256: *in_force.snapshot.hash(),
            })
        });
        let verified = verify(text.as_bytes(), signers, &self.audience, in_force)?;
        Ok(Pushed {
            rules: verified.content,
            stamp: Some(verified.manifest.stamp),
            signed_by: verified.signed_by.map(|key| key.to_string()),
            is_same: verified.news == adit_manifest::News::Same,
        })
    }
}
