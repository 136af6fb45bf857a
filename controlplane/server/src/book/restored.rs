//! What a restore makes of the rules of a backup: the same ones as a version of the new epoch.

use adit_api::{Change, Version};
use adit_manifest::Stamp;
use adit_store::Key;

use super::compiling::compile;
use super::{Book, Head};
use crate::clock;
use crate::keys;
use crate::trouble::Trouble;

impl Book {
    /// The rules of a restored head as a new version of `epoch`, so that agents take it whatever they have: the head,
    /// what is known of the version, its document.
    pub(crate) fn again(
        entries: &[(Key, Vec<u8>)],
        head_key: &Key,
        head: &[u8],
        epoch: u64,
        authority: &adit_authority::Authority,
    ) -> Result<Vec<(Key, Vec<u8>)>, Trouble> {
        let place = keys::place_of_head(head_key)
            .ok_or_else(|| Trouble::Invalid(format!("{head_key} is no head")))?;
        let head: Head = keys::read(head_key, head)?;
        let find = |key: Key| {
            let found = entries
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| value);
            found
                .ok_or_else(|| Trouble::Invalid(format!("the backup is damaged: {key} is missing")))
        };
        let known = |version| -> Result<Version, Trouble> {
            let key = keys::meta(&place, version);
            Ok(keys::read(&key, find(key.clone())?)?)
        };
        // What was on trial is over with the epoch; with nothing before it, nothing is allowed. That too is a version:
        // an agent that had the trial would keep it otherwise.
        let (text, mut meta) = match (head.version, &head.canary) {
            (0, canary) => {
                let on_trial = canary.as_ref().map_or(head.last, |canary| canary.version);
                let nothing = compile(String::new())?;
                let meta = Version {
                    sha256: nothing.sha256,
                    systems: nothing.systems,
                    resources: nothing.resources,
                    message: format!("the trial of version {on_trial} ended with a restore"),
                    ..known(on_trial)?
                };
                (String::new(), meta)
            }
            (version, _) => {
                let document = find(keys::document(&place, version))?;
                let (_, text) = adit_manifest::read(document).map_err(|refused| {
                    Trouble::Invalid(format!("the backup is damaged: {refused}"))
                })?;
                (text.to_owned(), known(version)?)
            }
        };
        let now = clock::unix_s();
        let stamp = Stamp {
            epoch,
            version: head.last + 1,
        };
        meta.change = Change::Restored {
            version: meta.version,
            epoch: meta.epoch,
        };
        meta.epoch = epoch;
        meta.version = stamp.version;
        meta.changed_unix_s = now;
        let document = adit_manifest::sign(
            &place.audience(),
            stamp,
            now,
            &text,
            &[authority.signing_key()],
        );
        let next = Head {
            version: stamp.version,
            last: stamp.version,
            canary: None,
        };
        let bytes = |value: adit_store::Value| value.as_bytes().to_vec();
        Ok(vec![
            (head_key.clone(), bytes(keys::write(&next))),
            (keys::meta(&place, stamp.version), bytes(keys::write(&meta))),
            (keys::document(&place, stamp.version), document.into_bytes()),
        ])
    }
}
