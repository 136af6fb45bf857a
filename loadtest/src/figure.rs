//! Numbers of a report: conversions, medians, and how a person reads them.
//!
//! It knows nothing of what the numbers mean.

use std::time::Duration;

/// A count as a float. Counts here stay far below 2^53, where floats stop being exact.
#[expect(
    clippy::as_conversions,
    reason = "there is no lossless conversion; counts stay below 2^53"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// The same for a length in memory.
pub(crate) fn length(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A length of time in whole nanoseconds, as a histogram takes it.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The middle value, or the mean of the two middle ones; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted
        .get(middle - 1)
        .map(|lower| f64::midpoint(*lower, upper))
}

/// The least and the greatest value.
pub(crate) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let greatest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// Three significant digits, thousands divided by commas: `0.914`, `17.3`, `1,240`, `26,600`.
pub(crate) fn shown(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    let decimals = match size {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    // Below one, a third digit would be lost otherwise.
    let decimals = if size < 0.9995 { 3 } else { decimals };
    let text = format!("{value:.decimals$}");
    if size < 999.5 {
        return text;
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn nothing_has_no_median_and_what_is_no_number_does_not_count() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN, 7.0]), Some(7.0));
    }

    #[test]
    fn the_range_is_the_least_and_the_greatest() {
        assert_eq!(range(&[3.0, -1.0, 2.0]), Some((-1.0, 3.0)));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn a_person_reads_three_digits() {
        let cases = [
            (0.0, "0"),
            (0.9141, "0.914"),
            (1.0, "1.00"),
            (1.239, "1.24"),
            (17.28, "17.3"),
            (159.6, "160"),
            (999.4, "999"),
            (1_240.0, "1,240"),
            (26_600.2, "26,600"),
            (1_234_567.0, "1,234,567"),
            (-1_500.0, "-1,500"),
        ];
        for (value, text) in cases {
            assert_eq!(shown(value), text);
        }
        assert_eq!(shown(f64::INFINITY), "-");
    }
}
