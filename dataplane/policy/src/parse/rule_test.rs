//! The tables `[[test]]` of a rule set.
//!
//! What a test means, and what comes of it, is `rule_test`'s.
use toml::de::DeTable;

use super::Reader;
use crate::denial::DenialReason;
use crate::limits::TEST_REQUEST_BYTES_MAX;
use crate::problem::Place;
use crate::rule_test::{Expected, RuleName, RuleTest};

const TEST_KEYS: [&str; 5] = ["name", "request", "expect", "rule", "reason"];

#[derive(Clone, Copy)]
enum Answer {
    Allow,
    Deny,
}

impl Reader<'_> {
    pub(super) fn tests(&mut self, document: &DeTable<'_>) -> Vec<RuleTest> {
        self.tables(document, "test", "[[test]]")
            .into_iter()
            .filter_map(|(table, place)| self.test(table, place))
            .collect()
    }

    pub(super) fn test(&mut self, table: &DeTable<'_>, whole: Place) -> Option<RuleTest> {
        self.unknown_keys(table, "a test", &TEST_KEYS);
        let name = self.text(table, "name");
        let rule = self.optional(table, "rule", |reader, value| {
            let text = reader.string("rule", value)?;
            RuleName::read(text).or_else(|| {
                reader.problem(
                    value,
                    format!(
                        "rule {text:?} is neither a path, as in \"/orders\" or \"subtree /orders\", nor the name of a system"
                    ),
                )
            })
        });
        let reason = self.optional(table, "reason", |reader, value| {
            let words = DenialReason::ALL.map(|reason| (reason.word(), reason));
            reader.choice("reason", value, &words)
        });
        let answer = self.required(table, "expect", "a test", whole);
        let answer = answer.and_then(|value| {
            let words = [("allow", Answer::Allow), ("deny", Answer::Deny)];
            self.choice("expect", value, &words)
        });
        let surplus = match answer {
            Some(Answer::Allow) => table.get("reason").map(|value| {
                (
                    value,
                    "reason says why a request is denied; remove it, or write expect = \"deny\"",
                )
            }),
            Some(Answer::Deny) => table.get("rule").map(|value| {
                (
                    value,
                    "rule says what allows a request; remove it, or write expect = \"allow\"",
                )
            }),
            None => None,
        };
        if let Some((value, message)) = surplus {
            let _: Option<()> = self.problem(value, message.to_owned());
        }
        let request = self.required(table, "request", "a test", whole)?;
        let text = self.string("request", request)?;
        if text.len() > TEST_REQUEST_BYTES_MAX {
            return self.problem(
                request,
                format!(
                    "the request has {} bytes; a test's request has at most {TEST_REQUEST_BYTES_MAX}",
                    text.len()
                ),
            );
        }
        let expect = match answer? {
            Answer::Allow => Expected::Allow { rule },
            Answer::Deny => Expected::Deny { reason },
        };
        match RuleTest::new(text, expect) {
            Ok(mut test) => {
                test.name = name;
                test.place = self.place(request);
                Some(test)
            }
            Err(error) => self.problem(request, format!("request: {error}")),
        }
    }
}
