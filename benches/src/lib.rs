//! One list of cases: a case is one thing a quiet room does for a byte, a frame or a request.
//!
//! Two runners read the list, so neither knows a case the other does not: `benches/rooms.rs` takes
//! the time by criterion, the program `adit-benches` counts instructions. How to measure is theirs.
#![forbid(unsafe_code)]

mod audit;
mod case;
mod connect;
mod http;
mod mux;
mod papers;
mod pipe;
mod policy;
mod tls;
mod token;
mod tunnel;

pub use case::{Case, Who, Work};

/// Every case. A baseline follows the case whose work it does and has the same name.
#[must_use]
pub fn cases() -> Vec<Case> {
    let rooms = [
        mux::cases(),
        tls::cases(),
        tunnel::cases(),
        http::cases(),
        connect::cases(),
        policy::cases(),
        token::cases(),
        audit::cases(),
    ];
    rooms.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_runs_twice() {
        for case in cases() {
            let mut work = case.start();
            for _ in 0..2 {
                work.prepare();
                work.run();
            }
        }
    }

    #[test]
    fn no_two_cases_are_called_alike() {
        let mut seen = BTreeSet::new();
        for case in cases() {
            assert!(
                seen.insert((case.name, case.who.word())),
                "{} twice",
                case.name
            );
        }
        assert!(seen.len() > 20, "only {} cases", seen.len());
    }

    #[test]
    fn a_baseline_stands_behind_the_case_whose_work_it_does() {
        let cases = cases();
        let mut baselines = 0;
        for (ours, theirs) in cases.iter().zip(cases.iter().skip(1)) {
            if theirs.who != Who::Adit {
                baselines += 1;
                assert_eq!(ours.who, Who::Adit);
                assert_eq!(ours.name, theirs.name);
                assert_eq!(ours.bytes, theirs.bytes, "{}", ours.name);
            }
        }
        assert!(baselines >= 7, "only {baselines} baselines");
    }
}
