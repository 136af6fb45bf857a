//! The decision, with one rule and with 100,000: the agent asks once a request.
//!
//! With many rules each request asks for another system and resource, so that no answer comes out of
//! a cache that the last one filled.

use std::fmt::Write;
use std::hint::black_box;

use adit_policy::{Request, Snapshot};

use crate::case::{Case, UNITS, Work, units};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "policy/allow-1",
            "a request granted, 1 system of 1 resource",
            UNITS,
            || decide(1, 1, true),
        ),
        Case::new(
            "policy/deny-1",
            "a request denied, 1 system of 1 resource",
            UNITS,
            || decide(1, 1, false),
        ),
        Case::new(
            "policy/allow-100k",
            "a request granted, 1,000 systems of 100 resources",
            UNITS,
            || decide(1000, 100, true),
        ),
        Case::new(
            "policy/deny-100k",
            "a request denied, 1,000 systems of 100 resources",
            UNITS,
            || decide(1000, 100, false),
        ),
    ]
}

fn decide(systems: usize, resources: usize, allowed: bool) -> Box<dyn Work> {
    let rules = Snapshot::new(1, text(systems, resources)).expect("the text has no problems");
    let ending = if allowed { "SRV" } else { "EVIL" };
    let asked: Vec<(String, Vec<u8>)> = (0..ASKED)
        .map(|n| {
            // Two strides without a common factor visit systems and resources in no order.
            let (system, resource) = (n * 7919 % systems, n * 31 % resources);
            let path = format!("{PREFIX}{resource}_{ending}/Orders('4711')/Items");
            (format!("erp-{system}.virtual"), path.into_bytes())
        })
        .collect();
    let mut next = 0;
    units(move || {
        let (host, path) = asked.get(next).expect("the number turns within the list");
        next = (next + 1) % ASKED;
        let request = Request::Http {
            host,
            port: 80,
            method: "GET",
            path,
            upgrade: false,
        };
        let decided = black_box(rules.decide(black_box(&request)));
        assert_eq!(decided.is_ok(), allowed, "the rules decide as they say");
    })
}

/// Different requests.
const ASKED: usize = 1024;
const PREFIX: &str = "/sap/opu/odata/sap/API_";

fn text(systems: usize, resources: usize) -> String {
    let mut text = String::new();
    for system in 0..systems {
        let written = write!(
            text,
            "[[system]]\nvirtual = \"erp-{system}.virtual:80\"\nprotocol = \"http\"\n\
             internal = \"http://10.1.2.3\"\n"
        );
        written.expect("a string takes all");
        for resource in 0..resources {
            let written = write!(
                text,
                "[[system.resource]]\npath = \"{PREFIX}{resource}_SRV\"\nscope = \"subtree\"\n"
            );
            written.expect("a string takes all");
        }
    }
    text
}
