//! Whatever is done in whatever order: certificates count until the root they came from is let go, and not longer.

use adit_authority::{Authority, Issued, SealKey};
use proptest::prelude::*;

use super::peers::{judge, let_in};
use super::{DAY, agent, authority, node, now};

#[derive(Clone, Copy, Debug)]
enum Step {
    Issue,
    Begin,
    Switch,
    Finish,
    Rest,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Issue),
        2 => Just(Step::Begin),
        2 => Just(Step::Switch),
        2 => Just(Step::Finish),
        1 => Just(Step::Rest),
    ];
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_certificate_counts_until_its_root_is_let_go(steps in steps()) {
        let mut authority = authority();
        let mut issued: Vec<(String, Issued)> = Vec::new();
        for step in steps {
            let before = authority.trust(Vec::new());
            let changed = match step {
                Step::Issue => {
                    issued.push((authority.pin(), node(&authority, &agent()).0));
                    false
                }
                Step::Begin => authority.begin_roll(3_650 * DAY, now()).is_ok(),
                Step::Switch => authority.switch().is_ok(),
                Step::Finish => authority.finish().is_ok(),
                Step::Rest => {
                    let key = SealKey::from_bytes([3; 32]);
                    let sealed = authority.seal(&key).unwrap();
                    authority = Authority::open(&sealed, &key).unwrap();
                    false
                }
            };
            let after = authority.trust(Vec::new());
            if changed {
                prop_assert!(after.version > before.version);
            } else {
                prop_assert_eq!(&after, &before);
            }
            let roots = authority.roots();
            prop_assert_eq!(roots.iter().filter(|root| root.issues).count(), 1);
            let judge = judge(&authority);
            for (pin, leaf) in &issued {
                let trusted = roots.iter().any(|root| root.pin == *pin);
                prop_assert_eq!(let_in(&*judge, leaf), trusted);
            }
        }
    }
}
