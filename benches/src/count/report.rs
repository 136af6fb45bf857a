//! What was counted beside its budget: a table for people, a list for programs.

use adit_benches::{Case, Who};
use serde_json::json;

use super::budget::{Budgets, Verdict};

/// One line of the report.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    who: Who,
    counted: Option<u64>,
    budget: Option<u64>,
}

impl Row {
    /// A case that was counted.
    pub(crate) fn of(case: &Case, counted: u64, budgets: &Budgets) -> Self {
        Self {
            name: case.name.to_owned(),
            who: case.who,
            counted: Some(counted),
            budget: budgets.of(case.name).filter(|_| case.who == Who::Adit),
        }
    }

    /// A budget whose case is gone.
    pub(crate) fn without_case(name: String) -> Self {
        Self {
            name,
            who: Who::Adit,
            counted: None,
            budget: None,
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        Some(Verdict::of(self.counted?, self.budget?))
    }

    /// Whether this line alone makes the whole fail.
    pub(crate) fn fails(&self) -> bool {
        match self.verdict() {
            Some(verdict) => verdict == Verdict::Risen,
            // A baseline has no budget, and everything of ours has one.
            None => self.who == Who::Adit,
        }
    }

    fn note(&self) -> &'static str {
        match (self.verdict(), self.counted) {
            (Some(Verdict::Within), _) => "",
            (Some(Verdict::Risen), _) => "FAILED: more than 10 % above its budget",
            (Some(Verdict::Fallen), _) => "more than 10 % below: the budget can be lowered",
            (None, Some(_)) if self.who != Who::Adit => "baseline",
            (None, Some(_)) => "FAILED: no budget; `count --write` writes one",
            (None, None) => "FAILED: no such case; `count --write` drops the budget",
        }
    }

    fn change_percent(&self) -> Option<f64> {
        let (counted, budget) = (self.counted?, self.budget?);
        Some(real(counted) / real(budget) * 100.0 - 100.0)
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a change is shown with one decimal; counts are far below 2^53"
)]
fn real(count: u64) -> f64 {
    count as f64
}

/// For people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!(
        "{:<26} {:<6} {:>12} {:>12} {:>8}",
        "instructions of", "", "counted", "budget", "change"
    )];
    let shown =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    for row in rows {
        let change = row
            .change_percent()
            .map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %"));
        let line = format!(
            "{:<26} {:<6} {:>12} {:>12} {:>8}  {}",
            row.name,
            row.who.word(),
            shown(row.counted),
            shown(row.budget),
            change,
            row.note()
        );
        lines.push(line.trim_end().to_owned());
    }
    let failed = rows.iter().filter(|row| row.fails()).count();
    lines.push(if failed == 0 {
        format!(
            "{} counts, none more than 10 % above its budget",
            rows.len()
        )
    } else {
        format!("{} counts, {failed} failed", rows.len())
    });
    lines.join("\n")
}

/// For programs.
pub(crate) fn json(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "case": row.name,
                "who": row.who.word(),
                "instructions": row.counted,
                "budget": row.budget,
                "change_percent": row.change_percent(),
                "fails": row.fails(),
            })
        })
        .collect();
    serde_json::Value::from(rows).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(who: Who, counted: Option<u64>, budget: Option<u64>) -> Row {
        Row {
            name: "mux/a".to_owned(),
            who,
            counted,
            budget,
        }
    }

    #[test]
    fn only_a_rise_a_case_without_budget_and_a_budget_without_case_fail() {
        assert!(!row(Who::Adit, Some(110), Some(100)).fails());
        assert!(row(Who::Adit, Some(111), Some(100)).fails());
        assert!(!row(Who::Adit, Some(10), Some(100)).fails());
        assert!(row(Who::Adit, Some(10), None).fails());
        assert!(row(Who::Adit, None, None).fails());
        assert!(!row(Who::Yamux, Some(10), None).fails());
    }

    #[test]
    fn the_table_says_what_failed_and_what_can_be_lowered() {
        let rows = [
            row(Who::Adit, Some(112), Some(100)),
            row(Who::Adit, Some(80), Some(100)),
        ];
        let table = table(&rows);
        assert!(table.contains("+12.0 %  FAILED: more than 10 % above its budget"));
        assert!(table.contains("-20.0 %  more than 10 % below: the budget can be lowered"));
        assert!(table.ends_with("2 counts, 1 failed"), "{table}");
    }

    #[test]
    fn programs_read_the_same() {
        let read: serde_json::Value =
            serde_json::from_str(&json(&[row(Who::Adit, Some(125), Some(100))])).unwrap();
        assert_eq!(read[0]["change_percent"], 25.0);
        assert_eq!(read[0]["fails"], true);
    }
}
