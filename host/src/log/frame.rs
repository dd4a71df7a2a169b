//! Frames of the telemetry descriptor. A frame is one log event, even if it has several lines.

use super::time::since_epoch;
use super::{Format, Level, Record};

/// Puts a message into a frame: type, length of the message (both 32 bits) and microseconds since
/// the Unix epoch (64 bits), in network byte order, then the message.
///
/// The type describes the message. From the top bit: a magic number, six bits of level, whether
/// there is a time, and whether it is text (aws-lambda-python-runtime-interface-client,
/// `lambda_runtime_log_utils.py`; aws-lambda-java-runtime-interface-client, `FrameType.java`):
///
/// ```text
///  31               16 15       8 7         2   1      0
/// +-------------------+----------+-----------+------+------+
/// |      0xa55a       |    0     |   level   | time | text |
/// +-------------------+----------+-----------+------+------+
/// ```
pub(super) fn frame(record: &Record<'_>, message: &str) -> Vec<u8> {
    let micros = since_epoch(record.time()).as_micros();
    // No message reaches 4 GiB, and no time lies half a million years ahead.
    let (length, micros) = (message.len() as u32, micros as u64);
    let frame_type = frame_type(record.level(), record.form.format);
    let header = u128::from(frame_type) << 96 | u128::from(length) << 64 | u128::from(micros);
    [&header.to_be_bytes(), message.as_bytes()].concat()
}

/// The length of a frame's header in bytes.
pub(super) const HEADER: usize = 16;

fn frame_type(level: Level, format: Format) -> u32 {
    const MAGIC: u32 = 0xa55a_0000;
    const HAS_TIME: u32 = 0b10;
    MAGIC | (level as u32) << 2 | HAS_TIME | u32::from(format == Format::Text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn frame_types_are_those_of_the_aws_runtimes() {
        let cases = [
            (Level::Trace, 0xa55a_0007, 0xa55a_0006),
            (Level::Debug, 0xa55a_000b, 0xa55a_000a),
            (Level::Info, 0xa55a_000f, 0xa55a_000e),
            (Level::Warn, 0xa55a_0013, 0xa55a_0012),
            (Level::Error, 0xa55a_0017, 0xa55a_0016),
            (Level::Fatal, 0xa55a_001b, 0xa55a_001a),
        ];
        assert_eq!(cases.map(|(level, ..)| level), Level::ALL);
        for (level, text, json) in cases {
            assert_eq!(frame_type(level, Format::Text), text, "{level}");
            assert_eq!(frame_type(level, Format::Json), json, "{level}");
        }
    }

    #[test]
    fn a_frame_is_a_header_in_network_byte_order_and_the_message() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(0x0006_0304_0506_0708);
        let record = Record::new(Level::Warn, format_args!("its line is what is given")).at(time);
        let expected =
            b"\xa5\x5a\x00\x13\x00\x00\x00\x05\x00\x06\x03\x04\x05\x06\x07\x08a\nb\xc3\xa9";
        assert_eq!(frame(&record, "a\nb\u{e9}"), expected);
    }

    #[test]
    fn a_frame_of_an_empty_message_is_a_header() {
        let record = Record::new(Level::Info, format_args!("")).at(SystemTime::UNIX_EPOCH);
        let frame = frame(&record.format(Format::Json), "");
        assert_eq!(frame, b"\xa5\x5a\x00\x0e\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
