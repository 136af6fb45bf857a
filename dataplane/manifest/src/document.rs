//! The whole document: signing one, and taking one apart only as far as it is right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::error::Refused;
use crate::keys::{KeyId, Signers, SigningKey};
use crate::limits::{HEAD_BYTES_MAX, SIGNATURES_MAX};
use crate::manifest::{Lines, MAGIC_NAME, Manifest, is_audience};
use crate::stamp::{InForce, Stamp};

/// Whether `bytes` begin as a document does, of this format or of a later one. Proves nothing.
#[must_use]
pub fn is_document(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC_NAME.as_bytes())
}

/// Writes a document that puts `content` in force for `audience`, signed with each of `keys`.
///
/// # Panics
/// Without a key, with more than [`SIGNATURES_MAX`], or with an audience that cannot be one: whoever
/// signs has checked what people gave.
#[must_use]
pub fn sign(
    audience: &str,
    stamp: Stamp,
    issued_unix_s: u64,
    content: &str,
    keys: &[&SigningKey],
) -> String {
    assert!(
        (1..=SIGNATURES_MAX).contains(&keys.len()),
        "a document has 1 to {SIGNATURES_MAX} signatures"
    );
    assert!(is_audience(audience), "{audience:?} can be no audience");
    let manifest = Manifest {
        audience: audience.to_owned(),
        stamp,
        issued_unix_s,
        bytes: length(content),
        sha256: sha256(content.as_bytes()),
    };
    let signed = manifest.to_string();
    let mut document = signed.clone();
    for key in keys {
        let signature = STANDARD.encode(key.sign(signed.as_bytes()));
        document.push_str(&format!("{SIGNATURE}{} {signature}\n", key.public().id()));
    }
    document.push('\n');
    document.push_str(content);
    document
}

/// A document that is what it says it is, for whom it says, and no older than what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<'a> {
    /// What it says.
    pub manifest: Manifest,
    /// Whose signature counted; `None` where no key was asked for.
    pub signed_by: Option<KeyId>,
    /// The content.
    pub content: &'a str,
    /// Whether it changes anything.
    pub news: News,
}

/// Whether a document changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: newer or the same")]
pub enum News {
    /// It is newer than what is in force, or nothing is.
    Newer,
    /// It is what is in force.
    Same,
}

/// Takes `document` apart.
///
/// Where keys count, at least one signature must be by one of them, and none by them may be wrong;
/// signatures by others are passed over, so that a control plane may change its key.
///
/// # Errors
/// The first thing that is wrong, see [`Refused`].
pub fn verify<'a>(
    document: &'a [u8],
    signers: Signers<'_>,
    audience: &str,
    in_force: Option<InForce>,
) -> Result<Verified<'a>, Refused> {
    let parts = take_apart(document)?;
    let signed_by = check_signatures(&parts, signers)?;
    if parts.manifest.audience != audience {
        return Err(Refused::Audience {
            audience: parts.manifest.audience,
        });
    }
    let content = check_content(&parts)?;
    let news = compare(&parts.manifest, in_force)?;
    Ok(Verified {
        manifest: parts.manifest,
        signed_by,
        content,
        news,
    })
}

/// Reads `document` without asking who signed it, for whom, or what is in force: for tools that show
/// or forward it.
///
/// # Errors
/// The first thing that is wrong, see [`Refused`].
pub fn read(document: &[u8]) -> Result<(Manifest, &str), Refused> {
    let parts = take_apart(document)?;
    if parts.signatures.is_empty() {
        return Err(Refused::Unsigned);
    }
    let content = check_content(&parts)?;
    Ok((parts.manifest, content))
}

/// A document by its parts, none of them proved.
struct Parts<'a> {
    manifest: Manifest,
    signed: &'a [u8],
    signatures: Vec<Signature>,
    content: &'a [u8],
}

fn take_apart(document: &[u8]) -> Result<Parts<'_>, Refused> {
    if !is_document(document) {
        return Err(Refused::Unsigned);
    }
    let searched = document.get(..HEAD_BYTES_MAX).unwrap_or(document);
    let end = searched
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .ok_or(Refused::Endless)?;
    // The head with the line feed of its last line; behind it the empty line.
    let (head, rest) = document.split_at_checked(end + 1).ok_or(Refused::Endless)?;
    let mut lines = Lines::of(head);
    let manifest = Manifest::read(&mut lines)?;
    let (signed, signatures) = split_signatures(head, lines)?;
    Ok(Parts {
        manifest,
        signed,
        signatures,
        content: rest.get(1..).unwrap_or_default(),
    })
}

fn check_content<'a>(parts: &Parts<'a>) -> Result<&'a str, Refused> {
    let whole = u64::try_from(parts.content.len()) == Ok(parts.manifest.bytes)
        && sha256(parts.content) == parts.manifest.sha256;
    core::str::from_utf8(parts.content)
        .ok()
        .filter(|_| whole)
        .ok_or(Refused::Content)
}

struct Signature {
    key: KeyId,
    bytes: Vec<u8>,
}

/// Parts what is signed from the signatures.
fn split_signatures<'a>(
    head: &'a [u8],
    mut lines: Lines<'a>,
) -> Result<(&'a [u8], Vec<Signature>), Refused> {
    let mut signed = head.len() - lines.rest().len();
    let mut signatures = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with(b"?") && signatures.is_empty() {
            signed = head.len() - lines.rest().len();
            continue;
        }
        let signature = read_signature(line).ok_or_else(|| lines.wrong(WANTED))?;
        if signatures.len() == SIGNATURES_MAX {
            return Err(Refused::Signatures);
        }
        signatures.push(signature);
    }
    Ok((head.get(..signed).unwrap_or_default(), signatures))
}

fn read_signature(line: &[u8]) -> Option<Signature> {
    let (key, signature) = core::str::from_utf8(line)
        .ok()?
        .strip_prefix(SIGNATURE)?
        .split_once(' ')?;
    let key = key.parse().ok()?;
    let bytes = STANDARD.decode(signature).ok()?;
    (bytes.len() == SIGNATURE_BYTES).then_some(Signature { key, bytes })
}

fn check_signatures(parts: &Parts<'_>, signers: Signers<'_>) -> Result<Option<KeyId>, Refused> {
    let Some(first) = parts.signatures.first() else {
        return Err(Refused::Unsigned);
    };
    let keys = match signers {
        Signers::Anybody => return Ok(None),
        Signers::Keys(keys) => keys,
    };
    let mut signed_by = None;
    for signature in &parts.signatures {
        if let Some(key) = keys.iter().find(|key| key.id() == signature.key) {
            if !key.verifies(parts.signed, &signature.bytes) {
                return Err(Refused::BadSignature { key: key.id() });
            }
            signed_by = signed_by.or_else(|| Some(key.id()));
        }
    }
    signed_by.map(Some).ok_or(Refused::UnknownKey {
        signed_by: first.key,
    })
}

fn compare(manifest: &Manifest, in_force: Option<InForce>) -> Result<News, Refused> {
    let Some(in_force) = in_force else {
        return Ok(News::Newer);
    };
    if manifest.stamp < in_force.stamp {
        return Err(Refused::Older {
            came: manifest.stamp,
            in_force: in_force.stamp,
        });
    }
    if manifest.stamp > in_force.stamp {
        return Ok(News::Newer);
    }
    if manifest.sha256 == in_force.sha256 {
        Ok(News::Same)
    } else {
        Err(Refused::Forked {
            stamp: manifest.stamp,
        })
    }
}

fn sha256(content: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, content).as_ref());
    bytes
}

fn length(content: &str) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

/// What a signature's line begins with.
const SIGNATURE: &str = "signature ";
const SIGNATURE_BYTES: usize = 64;
const WANTED: &str = "`signature`, a key id and 64 bytes in base64";

#[cfg(test)]
mod tests;
