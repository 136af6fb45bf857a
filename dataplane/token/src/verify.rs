//! The one question of this room: whose token is this?
//!
//! Puts signature and claims together under the settings. Remembering answers is left to `cache`.

use crate::Algorithm;
use crate::claims::{self, Caller};
use crate::error::{Part, TokenError};
use crate::json::Object;
use crate::jws;
use crate::keys::KeySet;
use crate::limits::{LEEWAY_S_MAX, TOKEN_BYTES_CEILING, TOKEN_BYTES_MAX};

/// What counts. An empty list accepts nothing; there is no "any".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Accepted `iss`, compared byte for byte.
    pub issuers: Vec<String>,
    /// Accepted `aud`; one of the token's must be one of these.
    pub audiences: Vec<String>,
    /// Accepted `alg`.
    pub algorithms: Vec<Algorithm>,
    /// Where the subaccount stands: the first of these claims that is present. A name beginning
    /// with a slash is a path into nested objects (`/ext_attr/subaccountid`). Default `zid`,
    /// `subaccountid`.
    pub subaccount_claims: Vec<String>,
    /// Tolerated difference of clocks in seconds, for `exp` and `nbf`; cut to [`LEEWAY_S_MAX`].
    pub leeway_s: u64,
    /// Longest token in bytes; cut to [`TOKEN_BYTES_CEILING`].
    pub max_bytes: usize,
}

impl Default for Settings {
    /// Accepts nothing until issuers, audiences and algorithms are named.
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            subaccount_claims: vec!["zid".to_owned(), "subaccountid".to_owned()],
            leeway_s: LEEWAY_S_MAX,
            max_bytes: TOKEN_BYTES_MAX,
        }
    }
}

/// Verifies tokens with one set of keys. New keys: a new verifier, and an empty cache.
#[derive(Clone, Debug)]
pub struct Verifier {
    settings: Settings,
    clients: Option<Vec<String>>,
    keys: KeySet,
}

impl Verifier {
    /// A verifier that accepts what `settings` say and `keys` confirm.
    #[must_use]
    pub fn new(settings: Settings, keys: KeySet) -> Self {
        Self {
            settings,
            clients: None,
            keys,
        }
    }

    /// Accepts only tokens of these clients (`client_id`, `cid`, `azp` or `sub`, and `azp` when it
    /// is present too). Without this, every client of an accepted issuer and audience counts.
    #[must_use]
    pub fn only_clients(mut self, clients: Vec<String>) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Says who sent `token`, a compact JWS without `Bearer` or white space around it.
    ///
    /// Costs one signature check for a token that names its key: 20 to 60 us. A token that is too
    /// large or of a wrong shape costs no cryptography.
    ///
    /// # Errors
    /// The first thing found wrong, in this order: size, shape, algorithm, key and signature,
    /// issuer, audience, times, client, subaccount.
    pub fn verify(&self, token: &str, unix_now: u64) -> Result<Caller, TokenError> {
        let claims = signed(token, &self.settings, &self.keys)?;
        claims::caller(&claims, &self.settings, self.clients.as_deref(), unix_now)
    }
}

/// The claims of a token whose size, shape and signature are right.
pub(crate) fn signed(
    token: &str,
    settings: &Settings,
    keys: &KeySet,
) -> Result<Object, TokenError> {
    let limit = settings.max_bytes.min(TOKEN_BYTES_CEILING);
    if token.is_empty() {
        return Err(TokenError::Missing);
    }
    if token.len() > limit {
        return Err(TokenError::TooLarge {
            bytes: token.len(),
            limit,
        });
    }
    let payload = jws::open(token, &settings.algorithms, keys)?;
    jws::object(&payload, Part::Claims)
}
