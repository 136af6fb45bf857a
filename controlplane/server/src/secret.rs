//! Random names: of subscriptions, questions and requests.

use ring::rand::{SecureRandom as _, SystemRandom};

/// 32 hexadecimal digits that nobody can guess.
pub(crate) fn random_name() -> String {
    let mut bytes = [0_u8; 16];
    // Without random numbers TLS does not work either; a name that is not random is only a name here.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = fastrand::u128(..).to_be_bytes();
    }
    hex(&bytes)
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
