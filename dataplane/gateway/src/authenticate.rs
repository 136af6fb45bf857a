//! A token becomes a caller. No token, no stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adit_proto::refusal::Refusal;
use adit_runtime::clock;
use adit_token::{Caller, TokenError};

use crate::shard::Shard;

/// Who sent `token`, from the shard's memory or by verification.
///
/// # Errors
/// The refusal of the caller's door; details go to the log, not to the caller.
pub(crate) fn caller(shard: &Shard, token: &str) -> Result<Arc<Caller>, Refusal> {
    let now = clock::unix_now();
    let mut tokens = shard.tokens.borrow_mut();
    let version = shard.shared.keys_version.load(Ordering::Acquire);
    if shard.tokens_version.replace(version) != version {
        tokens.clear();
    }
    if let Some(caller) = tokens.get(token, now) {
        return Ok(caller);
    }
    match shard.shared.verifier.load().verify(token, now) {
        Ok(caller) => Ok(tokens.insert(token, caller)),
        Err(error) => {
            tracing::debug!(%error, "token refused");
            Err(refusal(&error))
        }
    }
}

fn refusal(error: &TokenError) -> Refusal {
    match error {
        TokenError::Missing => Refusal::TokenMissing,
        TokenError::TooLarge { .. } => Refusal::TokenTooLarge,
        TokenError::Malformed(_) => Refusal::TokenMalformed,
        TokenError::Algorithm(_) => Refusal::TokenAlgorithm,
        TokenError::Signature(_) => Refusal::TokenSignature,
        TokenError::Expired { .. } => Refusal::TokenExpired,
        TokenError::NotYetValid { .. } => Refusal::TokenNotYetValid,
        TokenError::Issuer(_) => Refusal::TokenIssuer,
        TokenError::Audience(_) => Refusal::TokenAudience,
        TokenError::Subaccount(_) => Refusal::TokenSubaccount,
    }
}
