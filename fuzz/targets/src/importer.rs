//! Access control written for other programs.

use adit_importer::{Choice, import};
use adit_policy::EncodedSlash;

use crate::input::Input;

/// [`import`] on any bytes. The first byte chooses how encoded slashes are read.
pub fn import_scc(data: &[u8]) {
    let mut input = Input::new(data);
    let keep = input.byte() % 2 == 1;
    let choice = Choice {
        encoded_slash: if keep {
            EncodedSlash::Keep
        } else {
            EncodedSlash::Refuse
        },
        ..Choice::default()
    };
    match import(input.rest(), &choice) {
        Ok(import) => {
            let text = import.toml("scc.json");
            let read =
                adit_policy::parse("scc.toml", &text).expect("what is written passes the check");
            assert_eq!(read, import.rules, "what is written reads back");
            assert!(import.rules.systems.len() <= import.systems_read);
            assert!(import.resources() <= import.resources_read);
            let missing = import.rules.systems.len() < import.systems_read
                || import.resources() < import.resources_read;
            assert!(
                !missing || import.needs_a_look,
                "nothing is dropped in silence"
            );
            for found in &import.findings {
                tell(&found.to_string());
            }
        }
        Err(unreadable) => tell(&unreadable.to_string()),
    }
}

fn tell(told: &str) {
    assert!(!told.is_empty());
    assert!(told.len() < 4000, "{} bytes", told.len());
    assert!(!told.chars().any(char::is_control), "{told:?}");
}
