//! A record as a person reads it: the table with medians, goals and ratios.

pub(crate) mod html;
mod plot;
pub(crate) mod table;

use crate::case::SCENARIOS;
use crate::goal::{Goal, ROWS};
use crate::peer::PEERS;
use crate::record::Record;

/// Prints the table.
#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
pub(crate) fn print(record: &Record) {
    println!("{}", table::text(record));
}

/// Prints scenarios, goals and peers.
#[expect(clippy::print_stdout, reason = "the list is what was asked for")]
pub(crate) fn list() {
    println!("scenarios (name or letter):");
    for scenario in &SCENARIOS {
        println!(
            "  {}  {:10} {}",
            scenario.letter, scenario.name, scenario.what
        );
    }
    println!("\ngoals (medians of adit):");
    for row in ROWS.iter().filter(|row| row.goal != Goal::None) {
        println!(
            "  {:10} {:20} {:28} {}",
            row.scenario,
            row.variant,
            row.label,
            row.goal.told()
        );
    }
    println!("\npeers:");
    for peer in &PEERS {
        let state = peer.missing().map_or_else(
            || "here".to_owned(),
            |program| format!("{program} is not installed"),
        );
        println!("  {:10} {:34} {}", peer.name, state, peer.what);
    }
}
