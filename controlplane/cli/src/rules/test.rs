//! `adit rules test`: what the rules say to the tests they carry.
//!
//! The outcomes are `policy`'s, by the function that enforces; here they become a table, or JSON.

use std::path::Path;

use adit_policy::TestOutcome;
use serde_json::{Value, json};

use super::{compile, count, read_rules, wrong};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::plain;

pub(super) fn run(file: &Path, output: Output) -> Result<(), Failure> {
    let (name, rules) = read_rules(file)?;
    let snapshot = compile(&name, rules).map_err(|problems| wrong(&problems))?;
    let outcomes: Vec<TestOutcome<'_>> = snapshot.table().outcomes().collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let passed = outcomes.len() - failed;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let summary = match (outcomes.len(), failed) {
        (0, _) => format!("{name}: no tests"),
        (_, 0) => format!("{name}: {} passed", count(number(passed), "test")),
        (_, _) => format!(
            "{name}: {} passed, {failed} failed",
            count(number(passed), "test")
        ),
    };
    let mut table = Table::new(["TEST", "REQUEST", "EXPECT", "RESULT"]);
    for outcome in &outcomes {
        let test = outcome.test();
        table.row([
            test.name.as_deref().map_or_else(|| "-".to_owned(), plain),
            test.request().to_string(),
            test.expect.to_string(),
            if outcome.passed() {
                "passed".to_owned()
            } else {
                format!("{}: {outcome}", place(&name, outcome))
            },
        ]);
    }
    let text = if outcomes.is_empty() {
        summary
    } else {
        format!("{table}\n\n{summary}")
    };
    let list: Vec<Value> = outcomes.iter().map(outcome_json).collect();
    output.result(
        text,
        &json!({
            "file": name,
            "hash": snapshot.hash_hex(),
            "passed": passed,
            "failed": failed,
            "tests": list,
        }),
    );
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::denied())
    }
}

fn place(file: &str, outcome: &TestOutcome<'_>) -> String {
    let place = outcome.test().place();
    format!("{file}:{}:{}", place.line(), place.column())
}

fn outcome_json(outcome: &TestOutcome<'_>) -> Value {
    let test = outcome.test();
    let came = match outcome.came() {
        Ok(grant) => json!({
            "decision": "allow",
            "system": grant.system().name(),
            "path": grant.resource().map(|resource| resource.path.as_str()),
            "scope": grant.resource().map(|resource| resource.scope),
            "text": outcome.to_string(),
        }),
        Err(denial) => json!({
            "decision": "deny",
            "reason": denial.reason(),
            "text": outcome.to_string(),
        }),
    };
    json!({
        "name": test.name,
        "request": test.written(),
        "expect": test.expect.to_string(),
        "line": test.place().line(),
        "column": test.place().column(),
        "passed": outcome.passed(),
        "came": came,
    })
}
