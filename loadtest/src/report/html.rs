//! A record as one page that needs nothing else: the table, bars and latency curves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::goal::Goal;
use crate::record::{Record, Sample};
use crate::report::plot::{self, Bar, Curve, escaped};
use crate::report::table::{self, Medians};

/// Writes the page.
pub(crate) fn write(record: &Record, file: &Path) -> Result<()> {
    std::fs::write(file, page(record)).with_context(|| format!("{}", file.display()))
}

fn page(record: &Record) -> String {
    let medians = Medians::of(record);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>adit-loadtest {}</title><style>{STYLE}</style>\
         <h1>adit-loadtest</h1><p>{}; commit {}; <code>{}</code><br>{}; {}; shards {}; medians of {} rounds, {} s each</p>",
        escaped(&record.begun),
        escaped(&record.begun),
        escaped(&record.commit),
        escaped(&record.command),
        escaped(&record.machine.told()),
        escaped(&record.places),
        record.shards,
        record.rounds,
        record.seconds,
    );
    page.push_str(&table_of(record, &medians));
    page.push_str("<h2>Figures</h2><p>Bars are medians, thin lines least and greatest, the dashed line is the goal.</p>");
    for (row, variant) in table::rows(record) {
        let bars: Vec<Bar> = medians
            .subjects
            .iter()
            .filter_map(|subject| {
                let of = (row.scenario, variant.as_str(), subject.as_str(), row.figure);
                Some(Bar {
                    label: subject.clone(),
                    value: medians.get(of.0, of.1, of.2, of.3)?,
                    range: table::spread(&medians, of.0, of.1, of.2, of.3)?,
                })
            })
            .collect();
        let goal = match row.goal {
            Goal::None => None,
            Goal::AtMost(value) | Goal::AtLeast(value) => Some(value),
        };
        let svg = plot::bars(&bars, goal);
        if !svg.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(
                page,
                "<h3>{}, {}: {}</h3>{svg}",
                escaped(row.scenario),
                escaped(&variant),
                escaped(row.label)
            );
        }
    }
    page.push_str("<h2>Latencies</h2><p>By percentile, of the last round.</p>");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for sample in record
        .samples
        .iter()
        .filter(|sample| !sample.curve.is_empty())
    {
        let of = (sample.scenario.as_str(), sample.variant.as_str());
        if seen.contains(&of) {
            continue;
        }
        seen.push(of);
        let curves: Vec<Curve> = medians
            .subjects
            .iter()
            .filter_map(|subject| last_curve(record, of, subject))
            .collect();
        let _ = write!(
            page,
            "<h3>{}, {}</h3>{}",
            escaped(of.0),
            escaped(of.1),
            plot::curves(&curves)
        );
    }
    page.push_str("</html>\n");
    page
}

fn last_curve(record: &Record, of: (&str, &str), subject: &str) -> Option<Curve> {
    let is_one = |sample: &&Sample| {
        (sample.scenario.as_str(), sample.variant.as_str()) == of
            && sample.subject == subject
            && !sample.curve.is_empty()
    };
    let sample = record.samples.iter().rev().find(is_one)?;
    Some(Curve {
        label: subject.to_owned(),
        points: sample.curve.clone(),
    })
}

fn table_of(record: &Record, medians: &Medians) -> String {
    let cells = table::cells(record, medians);
    let mut html = "<table>".to_owned();
    for (number, row) in cells.iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        html.push_str("<tr>");
        for cell in row {
            let class = match cell.as_str() {
                met if met == "met" || met.starts_with("met,") => " class=\"met\"",
                missed if missed.starts_with("not met") => " class=\"missed\"",
                _ => "",
            };
            // Writing to a String does not fail.
            let _ = write!(html, "<{tag}{class}>{}</{tag}>", escaped(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    for line in &record.missing {
        let _ = write!(html, "<p>{}</p>", escaped(line));
    }
    html
}

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;color:#222;padding:0 1em}\
table{border-collapse:collapse;font-size:13px}th,td{padding:2px 9px;text-align:left;border-bottom:1px solid #ddd;\
font-variant-numeric:tabular-nums}h3{font-size:14px;margin:1.4em 0 .2em}.met{color:#15803d}.missed{color:#be123c}\
svg text{font:11px system-ui,sans-serif;fill:#444}.ours{fill:#c2410c}.theirs{fill:#9aa5b1}\
.range{stroke:#222;stroke-width:1}.goal{stroke:#15803d;stroke-dasharray:4 3}.grid{stroke:#e5e7eb}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, sample};

    #[test]
    fn a_page_needs_nothing_else_and_shows_what_was_measured() {
        let mut first = sample("requests", "64 connections", "adit", &[("cpu_us", 17.5)]);
        first.curve = vec![(50.0, 100.0), (99.0, 900.0)];
        let page = page(&record(vec![first]));
        assert!(
            page.contains("17.5") && page.contains("<polyline"),
            "{page}"
        );
        for outside in ["http://", "https://", "src=", "<script", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_a_command_line_says_is_text() {
        let mut record = record(Vec::new());
        record.command = "<b>".to_owned();
        assert!(page(&record).contains("<code>&lt;b&gt;</code>"));
    }
}
