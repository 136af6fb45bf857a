//! The authority of a control plane: its roots, its signing keys, and how both are changed without an interruption.
//!
//! Nodes learn of every change by a [`Trust`] with a higher version. When all have it, and when certificates of the old
//! root have run out, is for whoever calls to know: no step here waits.

use core::fmt;
use core::time::Duration;

use adit_manifest::{KeyId, SigningKey};
use adit_proto::control::{Expired, Trust};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use crate::error::{ExpiredError, IssueError, NoRandomness, OpenError, RollError};
use crate::expired::{self, ExpiredNode};
use crate::identity::{Identity, Name, TrustDomain};
use crate::issue::{Issue, Issued};
use crate::leaf::seconds;
use crate::pem::pem;
use crate::request;
use crate::roll::{Office, Standing};
use crate::root::{Root, Uses, random};
use crate::seal::{self, SealKey, wipe};
use crate::state::{KeyText, RootText, State};

/// What is sealed is an authority.
const PURPOSE: &str = "authority";

/// A certificate authority and the key that signs rules.
pub struct Authority {
    trust_domain: TrustDomain,
    roots: Office<Root>,
    signers: Office<Signer>,
    version: u64,
}

/// A key that signs rules, and what it is made of.
struct Signer {
    key: SigningKey,
    seed: [u8; 32],
}

/// The control plane's own TLS certificate.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerIdentity {
    /// The leaf and, last, the root that signed it, PEM: whoever has only a [`pin`](Authority::pin) finds the root there.
    pub chain_pem: String,
    /// Its key, PEM. A secret.
    pub key_pem: String,
    /// Its number, lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// Its last second, since 1970.
    pub not_after_unix_s: u64,
}

/// A root, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootState {
    /// SHA-256 of its public key, 64 hexadecimal digits.
    pub pin: String,
    /// Its last second, since 1970.
    pub not_after_unix_s: u64,
    /// Whether it signs new certificates.
    pub issues: bool,
    /// Whether it did before and is to go.
    pub going: bool,
}

/// A signing key, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningKeyState {
    /// What it is called in manifests.
    pub id: KeyId,
    /// Whether it signs.
    pub signs: bool,
    /// Whether it did before and is to go.
    pub going: bool,
}

impl Authority {
    /// Makes an authority: a root (ECDSA P-256) that lives for `life`, and a signing key (Ed25519).
    ///
    /// # Errors
    /// [`IssueError::Life`], or no randomness.
    pub fn new(
        trust_domain: &TrustDomain,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        Ok(Self {
            trust_domain: trust_domain.clone(),
            roots: Office::new(Root::new(trust_domain, life, now)?),
            signers: Office::new(Signer::new()?),
            version: 1,
        })
    }

    /// All of it, its keys too, for no eyes but those of who has `key`.
    ///
    /// # Errors
    /// [`OpenError::NoRandomness`].
    pub fn seal(&self, key: &SealKey) -> Result<Vec<u8>, OpenError> {
        let root = |(root, standing): (&Root, Standing)| RootText {
            certificate: root.certificate_pem().to_owned(),
            key: root.key_pem(),
            standing,
        };
        let signer = |(signer, standing): (&Signer, Standing)| KeyText {
            seed: STANDARD.encode(signer.seed),
            standing,
        };
        let state = State {
            trust_domain: self.trust_domain.to_string(),
            version: self.version,
            roots: self.roots.all().map(root).collect(),
            signing_keys: self.signers.all().map(signer).collect(),
        };
        let mut content =
            serde_json::to_vec(&state).map_err(|cause| OpenError::Content(cause.to_string()))?;
        let sealed = seal::seal(&content, PURPOSE, key);
        wipe(&mut content);
        sealed
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`OpenError`]; one and the same for another key, another passphrase and altered bytes.
    pub fn open(sealed: &[u8], key: &SealKey) -> Result<Self, OpenError> {
        let mut content = seal::open(sealed, PURPOSE, key)?;
        // What serde says could repeat a piece of a key.
        let state = serde_json::from_slice(&content)
            .map_err(|_secret| OpenError::Content("not the state of an authority".to_owned()));
        wipe(&mut content);
        Self::restore(state?).map_err(OpenError::Content)
    }

    fn restore(state: State) -> Result<Self, String> {
        let trust_domain: TrustDomain = state
            .trust_domain
            .parse()
            .map_err(|why| format!("trust domain: {why}"))?;
        let mut roots = Vec::new();
        for text in state.roots {
            let root =
                Root::from_pem(&text.certificate, &text.key).map_err(|cause| cause.to_string())?;
            if *root.trust_domain() != trust_domain {
                return Err("a root is of another trust domain".to_owned());
            }
            roots.push((root, text.standing));
        }
        let mut signers = Vec::new();
        for text in state.signing_keys {
            let seed = STANDARD.decode(&text.seed).ok();
            let signer = seed
                .and_then(|seed| seed.try_into().ok())
                .and_then(Signer::from_seed)
                .ok_or("a signing key is none")?;
            signers.push((signer, text.standing));
        }
        Ok(Self {
            trust_domain,
            roots: Office::restore(roots).ok_or("not one root in office")?,
            signers: Office::restore(signers).ok_or("not one signing key in office")?,
            version: state.version,
        })
    }

    /// The first part of every identity.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A certificate for `identity` over the key of `csr_pem`; nothing else of the request is looked at. Keys may be
    /// ECDSA on P-256 or P-384, or Ed25519. It begins an hour ago, or a quarter of `life` ago if that is less, and ends
    /// after `life`, or with the root if that is earlier.
    ///
    /// # Errors
    /// [`IssueError`]: the request is not one or not signed by its own key, the root has ended.
    pub fn issue(
        &self,
        csr_pem: &str,
        identity: &Identity,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Issued, IssueError> {
        let key = request::proven_key(csr_pem)?;
        self.roots
            .acting()
            .certify(&key, identity, &[], Uses::ControlPlane, life, now)
    }

    /// Makes a key and a certificate for a server of the control plane, reached under `names`: DNS names and addresses.
    ///
    /// # Errors
    /// [`IssueError`], saying which name is none, or that the root has ended.
    pub fn issue_server(
        &self,
        name: &Name,
        names: &[String],
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<ServerIdentity, IssueError> {
        let identity = Identity::Control { name: name.clone() };
        let root = self.roots.acting();
        let (issued, key_pem) = root.issue_server(&identity, names, life, now)?;
        Ok(ServerIdentity {
            chain_pem: issued.certificate_pem + root.certificate_pem(),
            key_pem,
            serial: issued.serial,
            not_after_unix_s: issued.not_after_unix_s,
        })
    }

    /// SHA-256 of the issuing root's SubjectPublicKeyInfo in DER, 64 hexadecimal digits.
    #[must_use]
    pub fn pin(&self) -> String {
        self.roots.acting().pin().to_owned()
    }

    /// The key that signs rules now.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.signers.acting().key
    }

    /// Whom nodes must trust: all roots and signing keys, and `revoked` (serial numbers; sorted here).
    #[must_use]
    pub fn trust(&self, mut revoked: Vec<String>) -> Trust {
        revoked.sort_unstable();
        revoked.dedup();
        let public = |(signer, _): (&Signer, _)| pem("PUBLIC KEY", &signer.key.public().to_spki());
        Trust {
            version: self.version,
            roots: self
                .roots
                .all()
                .map(|(root, _)| root.certificate_pem())
                .collect(),
            signing_keys: self.signers.all().map(public).collect(),
            revoked,
        }
    }

    /// The version of [`trust`](Self::trust): grows with every step of a change and every [`advance`](Self::advance).
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Says that the list of revoked certificates, which is kept elsewhere, has changed.
    pub fn advance(&mut self) {
        self.version = self.version.saturating_add(1);
    }

    /// Makes a second root, which is trusted from now on; the first still issues.
    ///
    /// # Errors
    /// [`RollError`], when a change is under way or the root cannot be made.
    pub fn begin_roll(&mut self, life: Duration, now: OffsetDateTime) -> Result<(), RollError> {
        self.roots.may_begin()?;
        self.roots
            .begin(Root::new(&self.trust_domain, life, now)?)?;
        self.advance();
        Ok(())
    }

    /// The new root issues from now on; the old one is still trusted. Best when every node has the trust that
    /// [`begin_roll`](Self::begin_roll) made. Invitations with the old [`pin`](Self::pin) are of no use any more.
    ///
    /// # Errors
    /// [`RollError`], when this is not the next step.
    pub fn switch(&mut self) -> Result<(), RollError> {
        self.roots.switch()?;
        self.advance();
        Ok(())
    }

    /// The old root is not trusted any more. Best when no certificate of it counts.
    ///
    /// # Errors
    /// [`RollError`], when this is not the next step.
    pub fn finish(&mut self) -> Result<(), RollError> {
        self.roots.finish()?;
        self.advance();
        Ok(())
    }

    /// Makes a second signing key, whose signatures count from now on; the first still signs.
    ///
    /// # Errors
    /// [`RollError`], when a change is under way or there is no randomness.
    pub fn begin_signing_roll(&mut self) -> Result<(), RollError> {
        self.signers.may_begin()?;
        self.signers.begin(Signer::new()?)?;
        self.advance();
        Ok(())
    }

    /// The new key signs from now on; the old one's signatures still count.
    ///
    /// # Errors
    /// [`RollError`], when this is not the next step.
    pub fn switch_signing(&mut self) -> Result<(), RollError> {
        self.signers.switch()?;
        self.advance();
        Ok(())
    }

    /// Signatures of the old key do not count any more.
    ///
    /// # Errors
    /// [`RollError`], when this is not the next step.
    pub fn finish_signing(&mut self) -> Result<(), RollError> {
        self.signers.finish()?;
        self.advance();
        Ok(())
    }

    /// Its roots, the issuing one first.
    #[must_use]
    pub fn roots(&self) -> Vec<RootState> {
        let state = |(root, standing): (&Root, Standing)| RootState {
            pin: root.pin().to_owned(),
            not_after_unix_s: seconds(root.not_after().unix_timestamp()),
            issues: standing == Standing::Acting,
            going: standing == Standing::Going,
        };
        self.roots.all().map(state).collect()
    }

    /// Its signing keys, the one that signs first.
    #[must_use]
    pub fn signing_keys(&self) -> Vec<SigningKeyState> {
        let state = |(signer, standing): (&Signer, Standing)| SigningKeyState {
            id: signer.key.public().id(),
            signs: standing == Standing::Acting,
            going: standing == Standing::Going,
        };
        self.signers.all().map(state).collect()
    }

    /// Judges the proof of a node whose certificate has expired: signed by one of our roots, whatever its end, and the
    /// request signed by its key. Whether it was revoked is for whoever has the list.
    ///
    /// # Errors
    /// [`ExpiredError`], saying what is wrong.
    pub fn check_expired(
        &self,
        proof: &Expired,
        csr_pem: &str,
        now: OffsetDateTime,
    ) -> Result<ExpiredNode, ExpiredError> {
        let roots = self.roots.all().map(|(root, _)| root);
        expired::check(proof, csr_pem, roots, &self.trust_domain, now)
    }
}

impl Issue for Authority {
    fn issue(
        &self,
        csr_pem: &str,
        identity: &Identity,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Issued, IssueError> {
        self.issue(csr_pem, identity, life, now)
    }
}

impl Signer {
    fn new() -> Result<Self, NoRandomness> {
        Self::from_seed(random()?).ok_or(NoRandomness)
    }

    fn from_seed(seed: [u8; 32]) -> Option<Self> {
        let key = SigningKey::from_seed(&seed).ok()?;
        Some(Self { key, seed })
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        wipe(&mut self.seed);
    }
}

impl fmt::Debug for Authority {
    /// Says which; its keys are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("version", &self.version)
            .field("roots", &self.roots())
            .field("signing_keys", &self.signing_keys())
            .finish()
    }
}

impl fmt::Debug for ServerIdentity {
    /// Shows the certificate; the key is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("serial", &self.serial)
            .field("not_after_unix_s", &self.not_after_unix_s)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
