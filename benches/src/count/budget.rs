//! The file of budgets: read, judged against, and written anew with its comments kept.

use std::fmt;

use adit_benches::Case;
use toml_edit::{DocumentMut, Item, Table, value};

/// By how much a case may rise above its budget, and fall below it before that is told, in per cent.
const PERCENT: u64 = 10;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    document: DocumentMut,
}

/// How a count stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At most 10 % away.
    Within,
    /// More than 10 % above.
    Risen,
    /// More than 10 % below.
    Fallen,
}

impl Verdict {
    /// In whole numbers, so that the border is where it is said to be.
    pub(crate) fn of(counted: u64, budget: u64) -> Self {
        let counted = u128::from(counted) * 100;
        let share = |percent: u64| u128::from(budget) * u128::from(percent);
        if counted > share(100 + PERCENT) {
            Self::Risen
        } else if counted < share(100 - PERCENT) {
            Self::Fallen
        } else {
            Self::Within
        }
    }
}

impl Budgets {
    /// Reads the file: a table a case, with `unit` and `instructions` and nothing else.
    ///
    /// # Errors
    /// What is wrong, and in which table.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document: DocumentMut = text
            .parse()
            .map_err(|cause: toml_edit::TomlError| cause.to_string())?;
        for (name, item) in document.iter() {
            let table = item
                .as_table()
                .ok_or_else(|| format!("`{name}` is not a table"))?;
            if let Some((key, _)) = table
                .iter()
                .find(|(key, _)| !matches!(*key, "unit" | "instructions"))
            {
                return Err(format!("`{name}`: `{key}` is not a key of a budget"));
            }
            if table.get("unit").and_then(Item::as_str).is_none() {
                return Err(format!("`{name}`: `unit` says what is counted"));
            }
            if number(table).is_none_or(|instructions| instructions == 0) {
                return Err(format!("`{name}`: `instructions` is a number above 0"));
            }
        }
        Ok(Self { document })
    }

    /// The budget of a case.
    pub(crate) fn of(&self, name: &str) -> Option<u64> {
        number(self.document.get(name)?.as_table()?)
    }

    /// Sets the budget of a case; a new one goes to the end.
    pub(crate) fn set(&mut self, name: &str, unit: &str, instructions: u64) {
        let table = self
            .document
            .entry(name)
            .or_insert_with(|| Item::Table(Table::new()));
        let Some(table) = table.as_table_mut() else {
            return;
        };
        // Values keep what stands around them, comments among it.
        let mut put = |key: &str, new: toml_edit::Value| match table.get_mut(key) {
            Some(Item::Value(old)) => {
                let around = old.decor().clone();
                *old = new;
                *old.decor_mut() = around;
            }
            _ => {
                table.insert(key, value(new));
            }
        };
        put("unit", unit.into());
        put(
            "instructions",
            i64::try_from(instructions).unwrap_or(i64::MAX).into(),
        );
    }

    /// Drops budgets whose case is gone.
    pub(crate) fn keep_only(&mut self, cases: &[Case]) {
        for name in self.without_case(cases) {
            self.document.remove(&name);
        }
    }

    /// Names of budgets that no case has.
    pub(crate) fn without_case(&self, cases: &[Case]) -> Vec<String> {
        self.document
            .iter()
            .map(|(name, _)| name)
            .filter(|name| cases.iter().all(|case| case.name != *name))
            .map(str::to_owned)
            .collect()
    }
}

impl fmt::Display for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.document.fmt(f)
    }
}

fn number(table: &Table) -> Option<u64> {
    u64::try_from(table.get("instructions")?.as_integer()?).ok()
}

#[cfg(test)]
mod tests {
    use adit_benches::{Who, cases};

    use super::*;

    const FILE: &str =
        "# Head.\n\n# Why this.\n[\"mux/a\"]\nunit = \"a frame\" # behind\ninstructions = 1000\n";

    #[test]
    fn ten_per_cent_more_is_within_and_one_instruction_further_has_risen() {
        assert_eq!(Verdict::of(1100, 1000), Verdict::Within);
        assert_eq!(Verdict::of(1101, 1000), Verdict::Risen);
        // 10 % of 45 is 4.5: 49 is within, 50 is not.
        assert_eq!(Verdict::of(49, 45), Verdict::Within);
        assert_eq!(Verdict::of(50, 45), Verdict::Risen);
    }

    #[test]
    fn ten_per_cent_less_is_within_and_one_instruction_further_has_fallen() {
        assert_eq!(Verdict::of(900, 1000), Verdict::Within);
        assert_eq!(Verdict::of(899, 1000), Verdict::Fallen);
    }

    #[test]
    fn a_budget_is_read_and_another_name_has_none() {
        let budgets = Budgets::parse(FILE).unwrap();
        assert_eq!(budgets.of("mux/a"), Some(1000));
        assert_eq!(budgets.of("mux/b"), None);
    }

    #[test]
    fn what_is_not_a_budget_is_refused_by_name() {
        for (text, told) in [
            ("a = 1", "`a` is not a table"),
            ("[a]\ninstructions = 1", "`unit`"),
            ("[a]\nunit = \"x\"", "`instructions` is a number above 0"),
            (
                "[a]\nunit = \"x\"\ninstructions = 0",
                "`instructions` is a number above 0",
            ),
            (
                "[a]\nunit = \"x\"\ninstructions = -1",
                "`instructions` is a number above 0",
            ),
            (
                "[a]\nunit = \"x\"\ninstructions = 1\nbytes = 2",
                "`bytes` is not a key",
            ),
        ] {
            let problem = Budgets::parse(text).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn writing_changes_the_number_and_keeps_the_comments() {
        let mut budgets = Budgets::parse(FILE).unwrap();
        budgets.set("mux/a", "a frame", 900);
        assert_eq!(budgets.to_string(), FILE.replace("1000", "900"));
    }

    #[test]
    fn a_new_case_goes_to_the_end_and_one_that_is_gone_is_dropped() {
        let mut budgets = Budgets::parse(FILE).unwrap();
        let case = cases()[0];
        budgets.set(case.name, case.unit, 7);
        assert_eq!(budgets.of(case.name), Some(7));
        assert_eq!(budgets.without_case(&[case]), ["mux/a"]);
        budgets.keep_only(&[case]);
        assert_eq!(budgets.of("mux/a"), None);
        assert_eq!(budgets.of(case.name), Some(7));
    }

    #[test]
    fn each_case_has_a_budget_and_each_budget_a_case_of_the_same_unit() {
        let budgets = Budgets::parse(include_str!("../../budgets.toml")).unwrap();
        let ours: Vec<Case> = cases()
            .into_iter()
            .filter(|case| case.who == Who::Adit)
            .collect();
        assert!(ours.len() > 20, "only {} cases", ours.len());
        assert_eq!(budgets.without_case(&ours), [""; 0]);
        for case in ours {
            assert!(budgets.of(case.name).is_some(), "{} has none", case.name);
            let unit = budgets.document[case.name]["unit"].as_str();
            assert_eq!(unit, Some(case.unit), "{}", case.name);
        }
    }
}
