//! Plots as inline SVG: bars of one figure, and curves of latencies.

use std::fmt::Write as _;

use crate::figure::{length, shown};

/// A bar: label, value, least and greatest.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) range: (f64, f64),
}

/// Bars below each other, with a line at the goal.
pub(crate) fn bars(bars: &[Bar], goal: Option<f64>) -> String {
    let most = bars
        .iter()
        .map(|bar| bar.range.1.max(bar.value))
        .chain(goal)
        .fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return String::new();
    }
    let height = length(bars.len()) * BAR_HEIGHT + 6.0;
    let across = |value: f64| LABEL_WIDTH + value.max(0.0) / most * BARS_WIDTH;
    let mut svg =
        format!(r#"<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">"#);
    for (index, bar) in bars.iter().enumerate() {
        let top = length(index) * BAR_HEIGHT + 3.0;
        let class = if bar.label == crate::adit::NAME {
            "ours"
        } else {
            "theirs"
        };
        let middle = top + BAR_HEIGHT / 2.0;
        // Writing to a String does not fail.
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="{class}" x="{LABEL_WIDTH}" y="{:.1}" width="{:.1}" height="{:.1}"/><line class="range" x1="{:.1}" x2="{:.1}" y1="{middle:.1}" y2="{middle:.1}"/><text x="{:.1}" y="{:.1}">{}</text>"#,
            LABEL_WIDTH - 6.0,
            middle + 4.0,
            escaped(&bar.label),
            top + 2.0,
            across(bar.value) - LABEL_WIDTH,
            BAR_HEIGHT - 5.0,
            across(bar.range.0),
            across(bar.range.1),
            across(bar.range.1.max(bar.value)) + 6.0,
            middle + 4.0,
            shown(bar.value),
        );
    }
    if let Some(goal) = goal {
        let x = across(goal);
        let _ = write!(
            svg,
            r#"<line class="goal" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{height:.1}"/>"#
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A curve: label, and points of percentile and microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Latencies by percentile; the percentiles by their nines, the latencies by their logarithm.
pub(crate) fn curves(curves: &[Curve]) -> String {
    let values = || {
        let points = curves.iter().flat_map(|curve| curve.points.iter());
        points.map(|(_, micros)| micros.max(1.0).log10())
    };
    let (Some(least), Some(most)) = (
        values().min_by(f64::total_cmp),
        values().max_by(f64::total_cmp),
    ) else {
        return String::new();
    };
    let (least, most) = (least.floor(), most.ceil().max(least.floor() + 1.0));
    let x = |percentile: f64| LABEL_WIDTH + nines(percentile) / NINES_MOST * BARS_WIDTH;
    let y =
        |log: f64| CURVES_HEIGHT - 24.0 - (log - least) / (most - least) * (CURVES_HEIGHT - 40.0);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {CURVES_HEIGHT}" width="{WIDTH}" height="{CURVES_HEIGHT}">"#
    );
    for (percentile, label) in [
        (0.0, "0"),
        (50.0, "50"),
        (90.0, "90"),
        (99.0, "99"),
        (99.9, "99.9"),
        (99.99, "99.99"),
    ] {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{0:.1}" x2="{0:.1}" y1="10" y2="{1:.1}"/><text x="{0:.1}" y="{2:.1}" text-anchor="middle">{label}</text>"#,
            x(percentile),
            CURVES_HEIGHT - 24.0,
            CURVES_HEIGHT - 8.0,
        );
    }
    let mut log = least;
    while log <= most {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LABEL_WIDTH}" x2="{1:.1}" y1="{0:.1}" y2="{0:.1}"/><text x="{2:.1}" y="{3:.1}" text-anchor="end">{4} us</text>"#,
            y(log),
            LABEL_WIDTH + BARS_WIDTH,
            LABEL_WIDTH - 6.0,
            y(log) + 4.0,
            shown(10_f64.powf(log)),
        );
        log += 1.0;
    }
    for (index, curve) in curves.iter().enumerate() {
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(percentile, micros)| {
                format!("{:.1},{:.1}", x(*percentile), y(micros.max(1.0).log10()))
            })
            .collect();
        let colour = COLOURS.get(index % COLOURS.len()).unwrap_or(&"#333");
        let _ = write!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{}"/><text x="{:.1}" y="{:.1}" fill="{colour}">{}</text>"#,
            points.join(" "),
            LABEL_WIDTH + BARS_WIDTH + 12.0,
            20.0 + 15.0 * length(index),
            escaped(&curve.label),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// 0 for 0, 1 for 90 %, 2 for 99 %, 3 for 99.9 %.
fn nines(percentile: f64) -> f64 {
    let left = (1.0 - percentile / 100.0).max(10_f64.powf(-NINES_MOST));
    -left.log10()
}

/// Text between tags.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const WIDTH: f64 = 760.0;
const LABEL_WIDTH: f64 = 90.0;
const BARS_WIDTH: f64 = 540.0;
const BAR_HEIGHT: f64 = 20.0;
const CURVES_HEIGHT: f64 = 260.0;
const NINES_MOST: f64 = 4.5;
const COLOURS: [&str; 8] = [
    "#888888", "#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#be123c",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_counted() {
        for (percentile, count) in [
            (0.0, 0.0),
            (90.0, 1.0),
            (99.0, 2.0),
            (99.9, 3.0),
            (100.0, NINES_MOST),
        ] {
            assert!((nines(percentile) - count).abs() < 1e-9, "{percentile}");
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_longest() {
        let bar = |label: &str, value| Bar {
            label: label.to_owned(),
            value,
            range: (value, value),
        };
        let svg = bars(&[bar("adit", 1.0), bar("ssh", 2.0)], None);
        assert!(
            svg.contains(r#"class="ours" x="90" y="5.0" width="270.0""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"class="theirs" x="90" y="25.0" width="540.0""#),
            "{svg}"
        );
    }

    #[test]
    fn nothing_is_no_plot_and_text_is_text() {
        assert!(bars(&[], None).is_empty());
        assert!(curves(&[]).is_empty());
        assert_eq!(escaped("a<b&\"c\""), "a&lt;b&amp;&quot;c&quot;");
    }
}
