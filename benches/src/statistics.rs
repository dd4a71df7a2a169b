//! Medians with confidence intervals.

use std::fmt;

/// A median with its confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// The median of these values, and its 95 % interval by the bootstrap, which resamples the
    /// values 2,000 times. With only a few values, this is their minimum and maximum.
    pub(crate) fn of(values: &[f64]) -> Self {
        const DRAWS: usize = 2000;
        if values.is_empty() {
            return Self::default();
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut draw =
            || -> Vec<f64> { values.iter().map(|_| values[random.below(values.len())]).collect() };
        let mut medians: Vec<f64> = (0..DRAWS).map(|_| median(&mut draw())).collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[(share * (DRAWS - 1) as f64).round() as usize];
        Self { median: median(&mut values.to_vec()), low: at(0.025), high: at(0.975) }
    }
}

/// Markdown, such as `**1.502** [1.438, 1.681]`.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        write!(f, "**{median:.3}** [{low:.3}, {high:.3}]")
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Xorshift with a fixed seed, so that a table can be reproduced from its samples.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn an_interval_contains_its_median_and_is_no_wider_than_the_values() {
        let estimate = Estimate::of(&[1.0, 1.1, 0.9, 1.05, 3.0]);
        assert_eq!(estimate.median, 1.05);
        assert!(0.9 <= estimate.low && estimate.low <= 1.05, "{estimate:?}");
        assert!(1.05 <= estimate.high && estimate.high <= 3.0, "{estimate:?}");
    }
}
