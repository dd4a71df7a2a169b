//! Times of records.

use core::fmt;

use lambda_proto::json::JsonStr;

/// A time, as it was sent: text that should follow RFC 3339.
///
/// AWS's documentation also has times like `12:01:23:521Z`, with a colon before the fraction
/// [Lambda Developer Guide: Telemetry API schema]. Such a time has its text and nothing else.
///
/// ```
/// use lambda_proto_extension::telemetry::Record;
///
/// let event = br#"{"time":"2022-10-12T00:01:15.064Z","type":"function","record":"hello"}"#;
/// let record = Record::parse(event).unwrap();
/// assert_eq!(record.time.text(), "2022-10-12T00:01:15.064Z");
/// assert_eq!(record.time.unix_millis(), Some(1_665_532_875_064));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp<'a>(JsonStr<'a>);

impl<'a> Timestamp<'a> {
    pub(super) const fn new(text: JsonStr<'a>) -> Self {
        Self(text)
    }

    /// The text; empty if the field is absent.
    pub const fn text(&self) -> JsonStr<'a> {
        self.0
    }

    /// Milliseconds since the Unix epoch, without a fraction of a millisecond; `None` if the text
    /// does not follow RFC 3339, or the time is before 1970.
    pub fn unix_millis(&self) -> Option<u64> {
        parse(self.0.as_escaped().as_bytes())
    }
}

/// The text.
impl fmt::Display for Timestamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a `date-time` (RFC 3339 section 5.6).
fn parse(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_first_chunk::<11>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't'] = date else { return None };
    let (clock, rest) = rest.split_first_chunk::<8>()?;
    let [h1, h2, b':', i1, i2, b':', s1, s2] = clock else { return None };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let (month, day) = (number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*i1, *i2])?);
    // A leap second counts as the first second of the next minute.
    let second = number(&[*s1, *s2])?;
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = match rest {
        [b'.', rest @ ..] => {
            let is_end = |byte: &u8| !byte.is_ascii_digit();
            rest.split_at_checked(rest.iter().position(is_end).filter(|&digits| digits > 0)?)?
        }
        _ => (&[][..], rest),
    };
    let millis = (fraction.iter().chain(b"000").take(3))
        .fold(0, |millis, digit| millis * 10 + i64::from(digit.wrapping_sub(b'0')));
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from((seconds - offset(zone)?) * 1000 + millis).ok()
}

/// The seconds by which a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = zone else {
        return matches!(zone, b"Z" | b"z").then_some(0);
    };
    let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    let seconds = hours * 3600 + minutes * 60;
    (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -seconds } else { seconds })
}

/// Parses at most four digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit.wrapping_sub(b'0')))
    })
}

/// The days of a month.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days from 1970-01-01 to a date of the Gregorian calendar, from the year 0 on.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // With years that begin in March, the leap day is the last day of a year, and the months before
    // it have 153 days for every five of them.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and the epoch.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u64> {
        Timestamp::new(JsonStr::from_field(Some(text))).unix_millis()
    }

    #[test]
    fn times_of_rfc_3339_are_milliseconds_since_the_epoch() {
        // Checked with `date -u -d … +%s%3N`.
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2022-10-12T00:01:15.064Z", 1_665_532_875_064),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("2026-11-30T03:11:10.123456789Z", 1_796_008_270_123),
            ("2026-11-30T03:11:10.1Z", 1_796_008_270_100),
            ("2026-11-30t03:11:10z", 1_796_008_270_000),
            ("2026-11-30T05:11:10+02:00", 1_796_008_270_000),
            ("2026-11-29T22:41:10-04:30", 1_796_008_270_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "Z",
            "2022-10-12",
            "2022-10-12T00:01:15.064",
            "2022-10-12T00:01:15:064Z",
            "2022-10-12T00:01:15.Z",
            "2022-10-12T00:01:15Z ",
            "2022-10-12 00:01:15Z",
            "2022-13-12T00:01:15Z",
            "2022-00-12T00:01:15Z",
            "2022-02-29T00:01:15Z",
            "1900-02-29T00:01:15Z",
            "2022-04-31T00:01:15Z",
            "2022-10-00T00:01:15Z",
            "2022-10-12T24:00:00Z",
            "2022-10-12T00:60:00Z",
            "2022-10-12T00:00:61Z",
            "2022-10-12T00:00:00+24:00",
            "2022-10-12T00:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+022-10-12T00:01:15Z",
            "2022-10-12T00:01:15\u{e9}Z",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
