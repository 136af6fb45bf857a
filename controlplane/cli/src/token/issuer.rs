//! The development issuer: an Ed25519 key, its public half as JWKS, and tokens signed with it.
//!
//! Tokens are kept short on purpose, so that one fits a SOCKS5 password. Checking tokens is the
//! gateway's business.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use serde_json::{Value, json};

use crate::private_key;
use crate::safe_file::{self, Readers};

/// Name of the key in the issuer's folder.
pub(crate) const KEY: &str = "issuer-key.pem";

/// Name of the public half in the issuer's folder.
pub(crate) const JWKS: &str = "jwks.json";

/// Makes an issuer in `dir`.
pub(crate) fn init(dir: &Path) -> Result<()> {
    safe_file::make_folder(dir)?;
    let jwks = dir.join(JWKS);
    ensure!(
        !jwks.exists(),
        "{}: an issuer is there already and is not overwritten; choose another folder",
        jwks.display()
    );
    let pkcs8 = private_key::make(&dir.join(KEY))?;
    let public = format!("{:#}\n", public_half(&pair(&pkcs8)?));
    safe_file::create(&jwks, public.as_bytes(), Readers::Everybody)
}

/// What a token says. The order is the order in the token.
#[derive(Serialize)]
pub(crate) struct Claims<'c> {
    pub(crate) iss: &'c str,
    pub(crate) aud: &'c str,
    pub(crate) exp: u64,
    pub(crate) zid: &'c str,
    pub(crate) sub: &'c str,
}

/// An issuer that can sign.
pub(crate) struct Issuer {
    pair: Ed25519KeyPair,
}

impl Issuer {
    /// Opens the issuer in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(KEY);
        ensure!(
            path.exists(),
            "{}: no such file; make an issuer first with `adit token issuer init --dir {}`",
            path.display(),
            dir.display()
        );
        let pkcs8 = private_key::read(&path)?;
        Ok(Self {
            pair: pair(&pkcs8).with_context(|| path.display().to_string())?,
        })
    }

    /// Signs `claims`. No `kid` and no `typ`: each would cost a fifth of the space there is.
    pub(crate) fn sign(&self, claims: &Claims<'_>) -> Result<String> {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"EdDSA"}"#);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        Ok(format!("{message}.{signature}"))
    }
}

fn pair(pkcs8: &[u8]) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
        .map_err(|error| anyhow!("not an Ed25519 key: {error}"))
}

fn public_half(pair: &Ed25519KeyPair) -> Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    // RFC 7638, section 3.1: the members a key needs, in order, without white space.
    let thumbprint = digest::digest(
        &digest::SHA256,
        format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes(),
    );
    json!({"keys": [{
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": URL_SAFE_NO_PAD.encode(thumbprint),
        "x": x,
    }]})
}

#[cfg(test)]
mod tests {
    use adit_token::{Algorithm, KeySet, Settings, Verifier};

    use super::*;

    fn verifier(dir: &Path) -> Verifier {
        let jwks = std::fs::read(dir.join(JWKS)).unwrap();
        Verifier::new(
            Settings {
                issuers: vec!["adit-dev".to_owned()],
                audiences: vec!["adit".to_owned()],
                algorithms: vec![Algorithm::EdDsa],
                ..Settings::default()
            },
            KeySet::from_jwks(&jwks).unwrap(),
        )
    }

    fn claims(zid: &str) -> Claims<'_> {
        Claims {
            iss: "adit-dev",
            aud: "adit",
            exp: 1_800_003_600,
            zid,
            sub: "app",
        }
    }

    #[test]
    fn the_gateway_knows_the_caller_by_the_token() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let token = Issuer::open(dir.path())
            .unwrap()
            .sign(&claims("acme"))
            .unwrap();
        let caller = verifier(dir.path()).verify(&token, 1_800_000_000).unwrap();
        assert_eq!(caller.subaccount, "acme");
        assert_eq!(caller.client, "app");
        assert_eq!(caller.expires, 1_800_003_600);
    }

    #[test]
    fn a_token_for_a_uuid_fits_a_socks5_password() {
        // Parts: 15 bytes of header, 105 of claims and 64 of signature are 20 + 140 + 86
        // characters of base64url, and two dots.
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let uuid = "6d1f5a1e-8f3f-4a57-9a4c-0f9f6b8f2f11";
        let token = Issuer::open(dir.path())
            .unwrap()
            .sign(&claims(uuid))
            .unwrap();
        assert_eq!(token.len(), 248);
        assert!(token.len() < 255);
    }

    #[test]
    fn two_issuers_do_not_vouch_for_each_other() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        init(one.path()).unwrap();
        init(other.path()).unwrap();
        let token = Issuer::open(one.path())
            .unwrap()
            .sign(&claims("acme"))
            .unwrap();
        let error = verifier(other.path())
            .verify(&token, 1_800_000_000)
            .unwrap_err();
        assert_eq!(error.reason(), "token-signature");
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc8037() {
        // RFC 8037, appendix A.1 and A.3.
        let seed = URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap();
        let pkcs8 = [private_key::PKCS8_PREFIX.as_slice(), &seed].concat();
        let jwks = public_half(&pair(&pkcs8).unwrap());
        assert_eq!(
            jwks["keys"][0]["x"],
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        assert_eq!(
            jwks["keys"][0]["kid"],
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn an_issuer_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let before = std::fs::read(dir.path().join(KEY)).unwrap();
        assert!(init(dir.path()).is_err());
        assert_eq!(std::fs::read(dir.path().join(KEY)).unwrap(), before);
    }

    #[test]
    fn a_folder_without_issuer_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = Issuer::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("adit token issuer init"), "{error}");
    }
}
