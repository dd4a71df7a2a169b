//! Times and durations as telemetry writes them.

use std::fmt;
use std::time::Duration;

/// A time since the Unix epoch in the form of telemetry: RFC 3339 in UTC, with milliseconds.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference"; emulator,
/// `lambda-managed-instances/telemetry/constants.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rfc3339(pub(crate) Duration);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The year, month and day that begin this many days after 1 January 1970.
///
/// Years are counted from March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 1 March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (year_of_era, month + 3),
        _ => (year_of_era + 1, month - 9),
    };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_665_532_953_007, "2022-10-12T00:02:33.007Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (32_503_679_999_999, "2999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Rfc3339(Duration::from_millis(millis)).to_string(), text);
        }
    }

    /// httpdate finds the dates in its own way.
    #[test]
    fn dates_are_those_of_another_calendar() {
        for day in 0..400_000 {
            let time = Duration::from_secs(day * 86_400);
            let other = httpdate::HttpDate::from(std::time::UNIX_EPOCH + time).to_string();
            let (year, month, of_month) = date(day);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let name = &months[3 * (month as usize - 1)..][..3];
            assert!(other.contains(&format!("{of_month:02} {name} {year:04}")), "{other}");
        }
    }
}
