//! A record as a person reads it: the table with medians, goals and ratios.

pub(crate) mod html;
mod plot;
pub(crate) mod table;

use std::io::Write as _;

use crate::case::SCENARIOS;
use crate::goal::{self, Goal};
use crate::peer::PEERS;
use crate::record::Record;

/// Prints the table.
pub(crate) fn print(record: &Record) {
    show(&table::text(record));
}

fn show(text: &str) {
    // Whoever reads may stop before the end, as `head` does.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints scenarios, goals and peers.
pub(crate) fn list() {
    let mut lines = vec!["scenarios (name or letter):".to_owned()];
    for scenario in &SCENARIOS {
        lines.push(format!(
            "  {}  {:10} {}",
            scenario.letter, scenario.name, scenario.what
        ));
    }
    lines.push("\ngoals (medians of adit):".to_owned());
    for row in goal::rows().filter(|row| row.goal != Goal::None) {
        lines.push(format!(
            "  {:10} {:20} {:28} {}",
            row.scenario,
            row.variant,
            row.label,
            row.goal.told()
        ));
    }
    lines.push("\npeers:".to_owned());
    for peer in &PEERS {
        let state = peer.missing().map_or_else(
            || "here".to_owned(),
            |program| format!("{program} is not installed"),
        );
        lines.push(format!("  {:10} {:34} {}", peer.name, state, peer.what));
    }
    show(&lines.join("\n"));
}
