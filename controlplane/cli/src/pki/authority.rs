//! The certificate authority: its own key, and the certificates it signs.
//!
//! Everything it knows about itself stands in its certificate, the trust domain too. Names are
//! checked by `identity`; files of nodes are written by `pki`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;

use super::identity::{Identity, TrustDomain};
use crate::safe_file::{self, Readers};

/// Name of the authority's certificate in its folder.
pub(crate) const CERTIFICATE: &str = "ca.pem";

/// Name of the authority's key in its folder.
pub(crate) const KEY: &str = "ca-key.pem";

/// How far back a certificate's life begins: peers whose clocks are late accept it at once.
const BACKDATED: Duration = Duration::hours(1);

/// Makes an authority in `dir`; gives back the last moment of its certificate.
///
/// The key is ECDSA P-256; the certificate may sign leaves and no further authority.
pub(crate) fn init(
    dir: &Path,
    trust_domain: &TrustDomain,
    days: u32,
    now: OffsetDateTime,
) -> Result<OffsetDateTime> {
    safe_file::make_folder(dir)?;
    let certificate = dir.join(CERTIFICATE);
    ensure!(
        !certificate.exists(),
        "{}: an authority is there already and is not overwritten; choose another folder",
        certificate.display()
    );

    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("adit authority of {trust_domain}"));
    // SPIFFE X509-SVID, section 3: a signing certificate may carry the ID of its trust domain.
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATED;
    params.not_after = after(now, days)?;
    let not_after = params.not_after;
    let signed = params.self_signed(&key)?;

    safe_file::create(
        &dir.join(KEY),
        key.serialize_pem().as_bytes(),
        Readers::Owner,
    )?;
    safe_file::create(&certificate, signed.pem().as_bytes(), Readers::Everybody)?;
    Ok(not_after)
}

/// An authority that can sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    trust_domain: TrustDomain,
    not_after: OffsetDateTime,
    pem: String,
}

/// What a node needs to be known, as PEM.
pub(crate) struct Issued {
    pub(crate) spiffe_id: String,
    /// The node's certificate; the authority that signed it is a root, so the chain has one link.
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) roots: String,
    pub(crate) not_after: OffsetDateTime,
}

impl Authority {
    /// Opens the authority in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CERTIFICATE);
        let place = path.display();
        let pem = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "{place}: make an authority first with `adit pki init --dir {}`",
                dir.display()
            )
        })?;
        let key_path = dir.join(KEY);
        let key = KeyPair::from_pem(&safe_file::read_secret(&key_path)?)
            .with_context(|| format!("{} is not a private key", key_path.display()))?;
        let facts = facts(&pem).with_context(|| place.to_string())?;
        ensure!(
            facts.public_key == rcgen::PublicKeyData::subject_public_key_info(&key),
            "{place}: {} is the key of another certificate",
            key_path.display()
        );
        let issuer = Issuer::from_ca_cert_pem(&pem, key).with_context(|| place.to_string())?;
        Ok(Self {
            issuer,
            trust_domain: facts.trust_domain,
            not_after: facts.not_after,
            pem,
        })
    }

    /// Makes a key and signs its certificate, valid for `days` but not longer than the authority.
    pub(crate) fn issue(
        &self,
        identity: &Identity,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Issued> {
        ensure!(
            now < self.not_after,
            "the authority's certificate ended on {}; make a new authority in another folder",
            self.not_after.date()
        );
        let spiffe_id = identity.spiffe_id(&self.trust_domain);
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&identity.name().to_string());
        params.subject_alt_names = vec![uri(&spiffe_id)?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // The agent dials and the gateway accepts, never the other way round.
        params.extended_key_usages = vec![match identity {
            Identity::Agent { .. } => ExtendedKeyUsagePurpose::ClientAuth,
            Identity::Gateway { .. } => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATED;
        params.not_after = after(now, days)?.min(self.not_after);
        let not_after = params.not_after;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            spiffe_id,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            roots: self.pem.clone(),
            not_after,
        })
    }
}

/// What the authority's certificate says about itself.
struct Facts {
    trust_domain: TrustDomain,
    not_after: OffsetDateTime,
    public_key: Vec<u8>,
}

fn facts(pem: &str) -> Result<Facts> {
    let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|error| anyhow!("not a PEM certificate: {error}"))?;
    let certificate = der
        .parse_x509()
        .map_err(|error| anyhow!("not an X.509 certificate: {error}"))?;
    ensure!(
        certificate.is_ca(),
        "not the certificate of an authority (no CA basic constraint)"
    );
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| anyhow!("its alternative names are damaged: {error}"))?;
    let trust_domain = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .find_map(|name| {
            if let GeneralName::URI(uri) = name {
                uri.strip_prefix("spiffe://")
            } else {
                None
            }
        });
    let Some(trust_domain) = trust_domain else {
        bail!("not an adit authority: it names no trust domain (URI spiffe://...)");
    };
    Ok(Facts {
        trust_domain: trust_domain
            .parse()
            .map_err(|error| anyhow!("trust domain {trust_domain:?}: {error}"))?,
        not_after: certificate.validity().not_after.to_datetime(),
        public_key: certificate.public_key().raw.to_vec(),
    })
}

fn new_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("a key could not be made")
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn uri(text: &str) -> Result<SanType> {
    Ok(SanType::URI(text.try_into()?))
}

fn after(now: OffsetDateTime, days: u32) -> Result<OffsetDateTime> {
    now.checked_add(Duration::days(days.into()))
        .with_context(|| format!("{days} days from now is beyond the calendar"))
}

#[cfg(test)]
mod tests;
