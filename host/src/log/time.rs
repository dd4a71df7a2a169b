//! Timestamps of log lines. They use no calendar library, which would grow every program.

use std::time::{Duration, SystemTime};

/// A time in RFC 3339 format, in UTC, to the millisecond. Times before 1970 are shown as its first
/// millisecond, times after the year 9999 as its last, since the format has only four digits for
/// the year.
pub(super) fn timestamp(time: SystemTime) -> String {
    let since = since_epoch(time).min(LAST);
    let seconds = since.as_secs();
    let (year, month, day) = civil((seconds / DAY) as u32);
    let second = (seconds % DAY) as u32;
    let mut text = String::new();
    put(&mut text, year, 1000, "-");
    put(&mut text, month, 10, "-");
    put(&mut text, day, 10, "T");
    put(&mut text, second / 3600, 10, ":");
    put(&mut text, second / 60 % 60, 10, ":");
    put(&mut text, second % 60, 10, ".");
    put(&mut text, since.subsec_millis(), 100, "Z");
    text
}

/// Writes `value` with as many digits as `first` has, then `after`. `first` is the unit of the
/// first digit, such as 1000.
fn put(text: &mut String, value: u32, mut first: u32, after: &str) {
    while first > 0 {
        text.push(char::from(b'0' + (value / first % 10) as u8));
        first /= 10;
    }
    text.push_str(after);
}

/// The seconds of a day.
const DAY: u64 = 86_400;

/// The last millisecond of the year 9999.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

/// The time since the Unix epoch; zero before it.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Year, month and day of a day number since 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is their last (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u32) -> (u32, u32, u32) {
    // Days between 0000-03-01 and 1970-01-01; an era is 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + u32::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: u64, nanos: u32) -> String {
        timestamp(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    #[test]
    fn timestamps_equal_those_of_the_date_command() {
        // From `date -u -d @…`.
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (1, 999_999, "1970-01-01T00:00:01.000Z"),
            (1, 1_000_000, "1970-01-01T00:00:01.001Z"),
            (59, 999_999_999, "1970-01-01T00:00:59.999Z"),
            (86_399, 0, "1970-01-01T23:59:59.000Z"),
            (68_169_599, 0, "1972-02-28T23:59:59.000Z"),
            (68_169_600, 0, "1972-02-29T00:00:00.000Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000, 0, "2001-09-09T01:46:40.000Z"),
            (1_709_210_096, 120_000_000, "2024-02-29T12:34:56.120Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, 0, "2025-01-01T00:00:00.000Z"),
            (2_147_483_648, 0, "2038-01-19T03:14:08.000Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, 999_000_000, "9999-12-31T23:59:59.999Z"),
        ];
        for (seconds, nanos, expected) in cases {
            assert_eq!(shown(seconds, nanos), expected);
        }
    }

    #[test]
    fn every_day_of_800_years_follows_the_previous_day() {
        let is_leap = |year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(civil(days), (year, month, day));
            day += 1;
            let length = match month {
                2 => 28 + u32::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (2770, 1, 1));
    }

    #[test]
    fn a_time_out_of_range_becomes_the_nearest_in_range() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(timestamp(before), "1970-01-01T00:00:00.000Z");
        let far = Duration::from_secs(i64::MAX as u64);
        let far = SystemTime::UNIX_EPOCH.checked_add(far).expect("Unix clocks reach that far");
        assert_eq!(timestamp(far), "9999-12-31T23:59:59.999Z");
    }
}
