//! Medians of a record, what follows from them, and the table in Markdown.

use std::collections::{BTreeMap, BTreeSet};

use crate::adit;
use crate::figure::{float, length, median, range, shown};
use crate::goal::{self, Better, Goal, Row};
use crate::record::Record;
use crate::subject::DIRECT;

/// Medians by scenario, variant, subject and figure.
#[derive(Debug)]
pub(crate) struct Medians {
    values: BTreeMap<(String, String, String, String), Middle>,
    /// In the order in which they were measured.
    pub(crate) subjects: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Middle {
    value: f64,
    range: (f64, f64),
}

impl Medians {
    pub(crate) fn of(record: &Record) -> Self {
        let mut collected: BTreeMap<(String, String, String, String), Vec<f64>> = BTreeMap::new();
        let mut subjects: Vec<String> = Vec::new();
        for sample in &record.samples {
            if !subjects.contains(&sample.subject) {
                subjects.push(sample.subject.clone());
            }
            for (figure, value) in &sample.figures {
                let key = (
                    sample.scenario.clone(),
                    sample.variant.clone(),
                    sample.subject.clone(),
                    figure.clone(),
                );
                collected.entry(key).or_default().push(*value);
            }
        }
        let values = collected
            .into_iter()
            .filter_map(|(key, values)| {
                // A failure in any round counts.
                let worst = key.3.starts_with("failed");
                let range = range(&values)?;
                let value = if worst { range.1 } else { median(&values)? };
                Some((key, Middle { value, range }))
            })
            .collect();
        let mut medians = Self { values, subjects };
        medians.derive();
        medians
    }

    pub(crate) fn get(
        &self,
        scenario: &str,
        variant: &str,
        subject: &str,
        figure: &str,
    ) -> Option<f64> {
        self.middle(scenario, variant, subject, figure)
            .map(|middle| middle.value)
    }

    fn middle(&self, scenario: &str, variant: &str, subject: &str, figure: &str) -> Option<Middle> {
        let key = (
            scenario.into(),
            variant.into(),
            subject.into(),
            figure.into(),
        );
        self.values.get(&key).copied()
    }

    /// What only follows from two medians: above direct, beside alone, a share of the link.
    fn derive(&mut self) {
        let mut more = Vec::new();
        for ((scenario, variant, subject, figure), middle) in &self.values {
            let other = |variant: &str, subject: &str| self.get(scenario, variant, subject, figure);
            let derived = match (scenario.as_str(), figure.as_str()) {
                ("latency", "p50_us" | "p99_us") if subject != DIRECT => other(variant, DIRECT)
                    .map(|direct| (format!("added_{figure}"), middle.value - direct)),
                ("isolation", "p99_us") if variant != "alone" => other("alone", subject)
                    .map(|alone| ("times_alone".to_owned(), middle.value / alone)),
                ("delay", "mbit_per_s") if subject != DIRECT => other(variant, DIRECT)
                    .map(|direct| ("of_direct".to_owned(), middle.value / direct)),
                _ => None,
            };
            if let Some((name, value)) = derived {
                let key = (scenario.clone(), variant.clone(), subject.clone(), name);
                let range = (value, value);
                more.push((key, Middle { value, range }));
            }
        }
        self.values.extend(more);
    }

    /// The best of the peers, with its name.
    pub(crate) fn best_peer(&self, row: &Row) -> Option<(&str, f64)> {
        let peers = self
            .subjects
            .iter()
            .filter(|subject| *subject != DIRECT && *subject != adit::NAME);
        let figures = peers.filter_map(|peer| {
            let value = self.get(row.scenario, row.variant, peer, row.figure)?;
            Some((peer.as_str(), value))
        });
        match row.better {
            Better::Lower => figures.min_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Higher => figures.max_by(|a, b| a.1.total_cmp(&b.1)),
        }
    }
}

/// Rows as they are in [`goal::rows`], and those of more shards than one.
pub(crate) fn rows(record: &Record) -> Vec<(Row, String)> {
    let measured: BTreeSet<(&str, &str)> = record
        .samples
        .iter()
        .map(|sample| (sample.scenario.as_str(), sample.variant.as_str()))
        .collect();
    let mut rows = Vec::new();
    for row in goal::rows() {
        if row.scenario == "shards" {
            continue;
        }
        if measured.contains(&(row.scenario, row.variant)) {
            rows.push((*row, row.variant.to_owned()));
        }
    }
    for (scenario, variant) in &measured {
        if *scenario == "shards" {
            let same = goal::rows().filter(|row| row.scenario == "shards");
            rows.extend(same.map(|row| (*row, (*variant).to_owned())));
        }
    }
    rows
}

/// The whole table with what stands around it.
pub(crate) fn text(record: &Record) -> String {
    let medians = Medians::of(record);
    let mut lines = vec![
        String::new(),
        format!(
            "{}; commit {}; `{}`",
            record.begun, record.commit, record.command
        ),
        format!(
            "{}; {}; shards {}; medians of {} rounds, {} s each",
            record.machine.told(),
            record.places,
            record.shards,
            record.rounds,
            shown(record.seconds)
        ),
        String::new(),
    ];
    lines.extend(aligned(&cells(record, &medians)));
    lines.push(String::new());
    lines.push(bottleneck(record));
    if record.machine.paces() {
        lines.push(
            "Senders pace here (bbr), client and backend too: bulk is a measure of their timers; loadtest/unpaced.sh \
             runs a command where they do not."
                .to_owned(),
        );
    }
    lines.extend(record.missing.iter().cloned());
    lines.extend(notes(record));
    lines.join("\n")
}

// In how many of adit's rounds a figure was measured.
fn measured_of(record: &Record, scenario: &str, variant: &str, figure: &str) -> (usize, usize) {
    let rounds = record.samples.iter().filter(|sample| {
        sample.subject == adit::NAME && sample.scenario == scenario && sample.variant == variant
    });
    rounds.fold((0, 0), |(some, all), sample| {
        let has = sample.figures.contains_key(figure);
        (some + usize::from(has), all + 1)
    })
}

/// Heading and rows.
pub(crate) fn cells(record: &Record, medians: &Medians) -> Vec<Vec<String>> {
    let peers: Vec<&String> = medians
        .subjects
        .iter()
        .filter(|subject| *subject != DIRECT && *subject != adit::NAME)
        .collect();
    let mut heading: Vec<String> = ["scenario", "figure", "direct", "adit", "goal", ""]
        .map(str::to_owned)
        .to_vec();
    heading.extend(peers.iter().map(|peer| (*peer).clone()));
    if !peers.is_empty() {
        heading.push("adit / best peer".to_owned());
    }
    let mut table = vec![heading];
    for (row, variant) in rows(record) {
        let of = |subject: &str| medians.get(row.scenario, &variant, subject, row.figure);
        let cell = |subject: &str| of(subject).map_or_else(|| "-".to_owned(), shown);
        let adit = of(adit::NAME);
        let met = match adit.and_then(|value| row.goal.met(value)) {
            Some(true) => "met",
            Some(false) => "not met",
            None if adit.is_none() && row.goal != Goal::None => "not measured",
            None => "",
        };
        let met = match measured_of(record, row.scenario, &variant, row.figure) {
            (some, all) if 0 < some && some < all && !met.is_empty() => {
                format!("{met}, {some} of {all} rounds")
            }
            _ => met.to_owned(),
        };
        let mut line = vec![
            format!("{}, {variant}", row.scenario),
            row.label.to_owned(),
            cell(DIRECT),
            cell(adit::NAME),
            row.goal.told(),
            met,
        ];
        line.extend(peers.iter().map(|peer| cell(peer)));
        if !peers.is_empty() {
            let ratio = adit
                .zip(medians.best_peer(&row))
                .and_then(|(adit, (peer, best))| {
                    (best > 0.0 && adit >= 0.0).then(|| format!("{:.2} ({peer})", adit / best))
                });
            line.push(ratio.unwrap_or_default());
        }
        table.push(line);
    }
    table
}

/// Markdown whose columns stand below each other.
fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = table.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| -> String {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!(" {cell:width$} |"));
        format!("|{}", cells.collect::<String>())
    };
    let rule: String = widths
        .iter()
        .map(|width| format!("{}|", "-".repeat(width + 2)))
        .collect();
    let mut lines: Vec<String> = table.iter().map(line).collect();
    if lines.len() > 1 {
        lines.insert(1, format!("|{rule}"));
    }
    lines
}

/// Whether client and backend could have given more.
fn bottleneck(record: &Record) -> String {
    let medians = Medians::of(record);
    let mut worst: Option<(f64, String)> = None;
    for (row, variant) in rows(record) {
        if !matches!(row.figure, "gb_per_s" | "per_s") || row.scenario == "shards" {
            continue;
        }
        let of = |subject| medians.get(row.scenario, &variant, subject, row.figure);
        if let Some((direct, adit)) = of(DIRECT).zip(of(adit::NAME)) {
            let times = direct / adit;
            if worst.as_ref().is_none_or(|(least, _)| times < *least) {
                worst = Some((times, format!("{}, {variant}, {}", row.scenario, row.label)));
            }
        }
    }
    match worst {
        None => "Client and backend alone were not measured beside adit.".to_owned(),
        Some((times, which)) => format!(
            "Client and backend alone do at least {times:.1} times what adit does (least: {which})."
        ),
    }
}

/// Every note once, with how often.
fn notes(record: &Record) -> Vec<String> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut disturbed = 0_usize;
    for sample in &record.samples {
        let foreign = sample.figures.get("foreign_cpus").copied().unwrap_or(0.0);
        disturbed += usize::from(foreign > 0.2);
        let note = sample.note.as_deref().unwrap_or_default();
        for part in note.split("; ").filter(|part| !part.is_empty()) {
            if part.starts_with("others used") {
                continue;
            }
            let part = part.lines().next().unwrap_or_default();
            let text = format!(
                "{}, {}, {}: {part}",
                sample.scenario, sample.variant, sample.subject
            );
            *counted.entry(text).or_default() += 1;
        }
    }
    let mut lines: Vec<String> = counted
        .into_iter()
        .map(|(text, times)| match times {
            1 => format!("- {text}"),
            times => format!("- {text} ({times} times)"),
        })
        .collect();
    if disturbed > 0 {
        let share =
            100.0 * length(disturbed) / float(u64::try_from(record.samples.len()).unwrap_or(1));
        lines.push(format!(
            "- in {share:.0} % of the measurements other programs used more than 0.2 processors"
        ));
    }
    lines
}

/// Least and greatest value of a figure over the rounds.
pub(crate) fn spread(
    medians: &Medians,
    scenario: &str,
    variant: &str,
    subject: &str,
    figure: &str,
) -> Option<(f64, f64)> {
    medians
        .middle(scenario, variant, subject, figure)
        .map(|middle| middle.range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, sample};

    #[test]
    fn senders_that_pace_are_told() {
        let told = |algorithm: &str| {
            let mut record = one();
            record.machine.congestion_control = algorithm.to_owned();
            text(&record).contains("Senders pace here")
        };
        assert!(told("bbr") && told("bbr2"));
        assert!(!told("cubic") && !told("reno") && !told(""));
    }

    fn one() -> Record {
        record(vec![
            sample(
                "latency",
                "200 requests/s",
                "direct",
                &[("p50_us", 100.0), ("p99_us", 150.0)],
            ),
            sample(
                "latency",
                "200 requests/s",
                "adit",
                &[("p50_us", 140.0), ("p99_us", 400.0)],
            ),
            sample(
                "latency",
                "200 requests/s",
                "ssh",
                &[("p50_us", 190.0), ("p99_us", 900.0)],
            ),
            sample("isolation", "alone", "adit", &[("p99_us", 200.0)]),
            sample(
                "isolation",
                "1 stalled reader",
                "adit",
                &[("p99_us", 260.0)],
            ),
        ])
    }

    fn line<'t>(text: &'t str, part: &str) -> &'t str {
        text.lines().find(|line| line.contains(part)).unwrap()
    }

    #[test]
    fn latency_is_compared_with_direct_and_pings_with_themselves_alone() {
        let text = text(&one());
        let added = line(&text, "p50 us above direct");
        assert!(
            added.contains("| 40.0 ") && added.contains(" met "),
            "{added}"
        );
        let added = line(&text, "p99 us above direct");
        assert!(
            added.contains("| 250 ") && added.contains("not met"),
            "{added}"
        );
        let alone = line(&text, "p99 / alone");
        assert!(
            alone.contains("| 1.30 ") && alone.contains("not met"),
            "{alone}"
        );
    }

    #[test]
    fn a_peer_is_compared_with() {
        let text = text(&one());
        // 140 / 190
        assert!(line(&text, "| p50 us ").contains("0.74 (ssh)"), "{text}");
    }

    #[test]
    fn a_failure_in_any_round_counts_and_other_figures_are_medians() {
        let figures = |failed, per_s| {
            sample(
                "requests",
                "64 connections",
                "adit",
                &[("failed", failed), ("per_s", per_s)],
            )
        };
        let record = record(vec![
            figures(0.0, 1.0),
            figures(2.0, 9.0),
            figures(0.0, 5.0),
        ]);
        let medians = Medians::of(&record);
        let of = |figure| {
            medians
                .get("requests", "64 connections", "adit", figure)
                .unwrap()
        };
        assert!((of("failed") - 2.0).abs() < f64::EPSILON);
        assert!((of("per_s") - 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = text(&one());
        let widths: BTreeSet<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.chars().count())
            .collect();
        assert_eq!(widths.len(), 1, "{text}");
    }

    #[test]
    fn what_was_not_measured_is_not_shown() {
        assert!(!text(&one()).contains("download"));
    }
}
