//! Values that try to break out of their places.

use proptest::prelude::*;

/// Each byte, alone and between others, and the character with that code point.
pub(crate) fn bytes() -> Vec<Vec<u8>> {
    let bytes = (0..=u8::MAX).flat_map(|byte| {
        let character = char::from(byte).to_string();
        [
            vec![byte],
            vec![b'a', byte, b'b'],
            character.clone().into(),
            format!("a{character}b").into(),
        ]
    });
    let mut bytes: Vec<_> = bytes.collect();
    bytes.sort();
    bytes.dedup();
    bytes
}

/// Texts, each of which contains something that could end a place.
const ATTEMPTS: &[&str] = &[
    "",
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "a\r\nX-Injected: yes",
    "\r\nX-Injected: yes",
    "\nX-Injected: yes",
    "\rX-Injected: yes",
    "a\r\n X-Injected: yes",
    "a\r\nContent-Length: 0",
    "a\r\nContent-Length: 0\r\n\r\n",
    "a\r\nTransfer-Encoding: chunked",
    "a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nPOST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    "\n\nGET /second HTTP/1.1\nHost: a\n\n",
    "0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    " HTTP/1.1\r\nHost: a\r\n\r\nGET /second",
    "%0d%0a",
    "%0d%0aX-Injected:%20yes",
    "%0D%0A%0D%0AGET%20/second",
    "%00",
    "%",
    "a%2",
    "%2F..%2F",
    "../../next",
    "next/../../../x",
    "?a=b#c",
    "//a",
    "\\..\\",
    "a: b",
    "a, b; c=\"d",
    "\"",
    "\\",
    "\\\"",
    "\",\"x\":\"",
    "\"}\r\n{\"a\":\"",
    "\u{0}",
    "a\u{0}b",
    "\u{7f}\u{1b}[31m",
    "\t",
    " ",
    " \t a",
    "a \t ",
    "caf\u{e9}",
    "\u{20ac}",
    "\u{1f375}",
    "\u{85}\u{2028}\u{2029}\u{feff}\u{a0}",
    // Characters whose lower byte is that of a line end, a colon, or NUL.
    "a\u{10d}\u{10a}X-Injected\u{13a}\u{120}yes",
    "\u{560d}\u{560a}X: y",
    "\u{100}\u{10a}",
    "\u{ff0d}\u{ff0a}\u{ff1a}",
    "\u{fffd}\u{ffff}\u{10ffff}",
];

/// The texts, and bytes that are not text.
pub(crate) fn attempts() -> Vec<Vec<u8>> {
    let no_text: [&[u8]; 6] =
        [b"\xff", b"\xc3", b"\xe9\r\nX: y", b"\xed\xa0\x80", b"\xc0\x8a", b"\xf4\x90\x80\x80"];
    let attempts = ATTEMPTS.iter().map(|attempt| attempt.as_bytes());
    attempts.chain(no_text).map(<[u8]>::to_vec).collect()
}

/// Values of 8 KiB, of 1 MiB, and just beyond the limits of the library.
pub(crate) fn long() -> Vec<Vec<u8>> {
    const MIB: usize = 1024 * 1024;
    let lengths = [64, 65, 127, 128, 129, 255, 256, 257, 4_096, 8_192, MIB, MIB + 1];
    let mut long: Vec<_> = lengths.iter().map(|length| vec![b'x'; *length]).collect();
    long.push("\r\nX: y".repeat(2_000).into());
    long.push("\u{1f375}".repeat(64).into());
    long.push("\u{1f375}".repeat(MIB / 4).into());
    long.push("[".repeat(100_000).into());
    long.push("\0".repeat(200_000).into());
    long
}

/// Concatenations of parts of these values.
pub(crate) fn combined() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        3 => prop::sample::select(ATTEMPTS).prop_map(|attempt| attempt.as_bytes().to_vec()),
        2 => "[!-~]{1,6}".prop_map(String::into_bytes),
        2 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => ("[ -~]{1,3}", 1..400usize).prop_map(|(text, count)| text.repeat(count).into_bytes()),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}
