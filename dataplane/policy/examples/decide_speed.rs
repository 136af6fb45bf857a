//! How long a decision takes with 10,000 systems of 100 resources each, and how long such rules take to load.
//!
//! Run with `cargo run --release -p adit-policy --example decide_speed`. Each request asks for another system and
//! resource, so that no answer comes out of a cache that the last one filled.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "measuring and printing is what this program is for"
)]
use std::fmt::Write;
use std::time::{Duration, Instant};

use adit_policy::{DenialReason, Request, Table, parse};

const SYSTEMS: usize = 10_000;
const RESOURCES: usize = 100;
const DECISIONS: usize = 1_000_000;
const BATCH: usize = 1000;

fn main() {
    let mut text = String::new();
    for system in 0..SYSTEMS {
        let written = write!(
            text,
            "[[system]]\nvirtual = \"erp-{system}.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://10.1.2.3\"\n"
        );
        written.expect("a string takes all that is written to it");
        for resource in 0..RESOURCES {
            let written = write!(
                text,
                "[[system.resource]]\npath = \"/sap/opu/odata/sap/API_{resource}_SRV\"\nscope = \"subtree\"\n"
            );
            written.expect("a string takes all that is written to it");
        }
    }
    let start = Instant::now();
    let rules = parse("rules.toml", &text).expect("the text above has no problems");
    println!(
        "read {} MB of rules: {:?}",
        text.len() / 1_000_000,
        start.elapsed()
    );
    let start = Instant::now();
    let table = Table::compile(&rules).expect("the rules above have no conflicts");
    println!("compiled: {:?}", start.elapsed());

    let asked: Vec<(String, String)> = (0..DECISIONS)
        .map(|n| {
            // Two strides without a common factor visit systems and resources in no order.
            let (system, resource) = (n * 7919 % SYSTEMS, n * 31 % RESOURCES);
            let host = format!("erp-{system}.virtual");
            (
                host,
                format!("/sap/opu/odata/sap/API_{resource}_SRV/Orders('4711')/Items"),
            )
        })
        .collect();
    measure(&table, "granted", &asked, None);
    let encoded: Vec<_> = asked
        .iter()
        .map(|(host, path)| (host.clone(), path.replace("('4711')", "(%274711%27)")))
        .collect();
    measure(&table, "granted, percent-encoded", &encoded, None);
    let beside: Vec<_> = asked
        .iter()
        .map(|(host, path)| (host.clone(), path.replace("_SRV", "_EVIL")))
        .collect();
    measure(
        &table,
        "denied",
        &beside,
        Some(DenialReason::ResourceDenied),
    );
    let elsewhere: Vec<_> = asked
        .iter()
        .map(|(host, path)| (host.replace("erp", "crm"), path.clone()))
        .collect();
    measure(
        &table,
        "unknown system",
        &elsewhere,
        Some(DenialReason::SystemUnknown),
    );
}

fn measure(table: &Table, what: &str, asked: &[(String, String)], reason: Option<DenialReason>) {
    // The median of many short batches: a batch in which the machine did something else does not count.
    let mut batches: Vec<Duration> = asked
        .chunks(BATCH)
        .map(|batch| {
            let start = Instant::now();
            for (host, path) in batch {
                let decision = table.decide(&Request::Http {
                    host,
                    port: 80,
                    method: "GET",
                    path: path.as_bytes(),
                    upgrade: false,
                });
                let found = decision.err().map(|denial| denial.reason());
                assert_eq!(found, reason, "{host}{path}");
            }
            start.elapsed()
        })
        .collect();
    batches.sort_unstable();
    let at = |percent: usize| {
        let batch = batches.get(batches.len() * percent / 100).copied();
        batch.unwrap_or_default() / u32::try_from(BATCH).unwrap_or(1)
    };
    println!(
        "{what}: median {:?} each (5 % {:?}, 95 % {:?})",
        at(50),
        at(5),
        at(95)
    );
}
