//! Secrets that people and programs of the control plane bring, and their hashes.

use adit_people::bearer::{Secret, SecretHash};

/// [`Secret::parse`] and the reading of a [`SecretHash`]: what is read has one spelling, and no refusal repeats it.
pub fn bearer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Secret::parse(&text) {
        Ok(secret) => {
            assert_eq!(secret.reveal(), text, "one spelling");
            assert!(text.starts_with(secret.kind().prefix()));
            let hash = secret.hash();
            assert_eq!(hash.to_string().parse::<SecretHash>(), Ok(hash));
            assert!(!format!("{secret:?}").contains(text.as_ref()));
        }
        Err(error) => assert_eq!(
            error.to_string(),
            Secret::parse("").unwrap_err().to_string()
        ),
    }
    if let Ok(hash) = text.parse::<SecretHash>() {
        assert_eq!(hash.to_string(), text, "one spelling");
    }
}
