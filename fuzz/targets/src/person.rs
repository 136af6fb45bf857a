//! Certificates that people show, and those that are given as their authority's.

use adit_authority::parse_leaf;
use adit_people::certificate::{NameField, PersonCertificate, authority_key};

/// [`PersonCertificate::read`] and [`authority_key`]: whom a certificate names can be a user, is named by one field only,
/// and is no node.
pub fn person(data: &[u8]) {
    for field in [NameField::CommonName, NameField::Email] {
        let Ok(person) = PersonCertificate::read(data, field) else {
            continue;
        };
        let name = person.user.as_str();
        assert!(
            data.windows(name.len()).any(|part| part == name.as_bytes()),
            "it stands there"
        );
        assert_eq!(person.fingerprint.len(), 64);
        assert_eq!(
            PersonCertificate::read(data, field).as_ref(),
            Ok(&person),
            "the same once more"
        );
        if let Ok(leaf) = parse_leaf(data) {
            assert!(
                !leaf.spiffe_id.to_ascii_lowercase().starts_with("spiffe:"),
                "a node"
            );
        }
    }
    let _ = authority_key(data);
}
