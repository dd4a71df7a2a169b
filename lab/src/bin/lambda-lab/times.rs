//! Times on the command line.

use std::str::FromStr;
use std::time::Duration;

/// A time, such as `500ms`. A plain number is one of seconds.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) Duration);

/// A [`Time`] that is not 0.
#[derive(Clone, Copy)]
pub(crate) struct TimeAboveZero(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        time(text).map(Self).ok_or_else(|| wrong(text, "a time"))
    }
}

impl FromStr for TimeAboveZero {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = time(text).filter(|it| !it.is_zero());
        time.map(Self).ok_or_else(|| wrong(text, "a time above 0"))
    }
}

fn time(text: &str) -> Option<Duration> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let mut found = units.iter().filter_map(|(unit, it)| Some((text.strip_suffix(unit)?, it)));
    let (number, seconds) = found.next()?;
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

fn wrong(text: &str, wanted: &str) -> String {
    format!("\"{text}\" is not {wanted}: write 3, 0.5, 500ms, 3s, 10m or 1h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_one_of_seconds() {
        for (text, millis) in
            [("3", 3000), ("0.5", 500), ("500ms", 500), ("3s", 3000), ("10m", 600_000), ("0", 0)]
        {
            assert_eq!(text.parse::<Time>().unwrap().0, Duration::from_millis(millis), "{text}");
        }
        assert_eq!("1h".parse::<TimeAboveZero>().unwrap().0, Duration::from_secs(3600));
        for text in ["", "ms", "soon", "-1", "1d", "1e400", "NaN", "15m1s"] {
            assert!(text.parse::<Time>().is_err_and(|it| it.contains("500ms")), "{text}");
        }
        assert!("0ms".parse::<TimeAboveZero>().is_err_and(|it| it.contains("above 0")));
    }
}
