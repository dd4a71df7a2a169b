//! The value of several rounds.

/// The median of the ratios within each round.
pub(crate) fn ratio(these: &[f64], those: &[f64]) -> f64 {
    median(&these.iter().zip(those).map(|(this, that)| this / that).collect::<Vec<_>>())
}

/// The median of the values of rounds.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.get(values.len() / 2) {
        Some(upper) if values.len().is_multiple_of(2) => {
            f64::midpoint(values[values.len() / 2 - 1], *upper)
        }
        Some(middle) => *middle,
        None => f64::NAN,
    }
}
