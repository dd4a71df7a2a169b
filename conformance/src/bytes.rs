use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

/// Bytes in the notation of the vectors: a string whose characters, U+0000 to U+00FF, are one byte
/// each; or a list of such strings and of repetitions, `{"repeat": "ab", "times": 3}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Notation")]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Notation {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Part {
    Text(String),
    Repeated { repeat: String, times: usize },
}

impl TryFrom<Notation> for Bytes {
    type Error = String;

    fn try_from(notation: Notation) -> Result<Self, String> {
        let parts = match notation {
            Notation::Text(text) => return Ok(Self(bytes_of(&text)?)),
            Notation::Parts(parts) => parts,
        };
        let mut all = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => all.extend(bytes_of(&text)?),
                Part::Repeated { repeat, times } => all.extend(bytes_of(&repeat)?.repeat(times)),
            }
        }
        Ok(Self(all))
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>, String> {
    let byte = |character| {
        u8::try_from(character).map_err(|_| {
            format!("{character:?} is not a byte: write bytes beyond 0x7F as U+0080 to U+00FF")
        })
    };
    text.chars().map(byte).collect()
}

/// The bytes with each `{in MS}` replaced by the time in this many milliseconds, as milliseconds
/// since the Unix epoch: 13 digits.
pub(crate) fn with_deadlines(bytes: &[u8], now: Duration) -> Cow<'_, [u8]> {
    let (mut all, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(OPEN.len()).position(|window| window == OPEN) {
        let after = &rest[at + OPEN.len()..];
        let digits = after.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
        let millis = str::from_utf8(&after[..digits]).ok().and_then(|digits| digits.parse().ok());
        all.extend_from_slice(&rest[..at]);
        match millis {
            Some(millis) if after.get(digits) == Some(&b'}') => {
                let time = now + Duration::from_millis(millis);
                all.extend_from_slice(time.as_millis().to_string().as_bytes());
                rest = &after[digits + 1..];
            }
            _ => {
                all.extend_from_slice(OPEN);
                rest = after;
            }
        }
    }
    if all.is_empty() {
        return bytes.into();
    }
    all.extend_from_slice(rest);
    all.into()
}

const OPEN: &[u8] = b"{in ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_in() {
        let put = |text: &str| {
            let bytes = with_deadlines(text.as_bytes(), Duration::from_millis(1_795_252_819_000));
            String::from_utf8(bytes.into_owned()).unwrap()
        };
        assert_eq!(put("a{in 1000}b{in 0}"), "a1795252820000b1795252819000");
        assert_eq!(put("{\"in\":1}"), "{\"in\":1}");
        assert_eq!(put("{in x}{in 5}{in 5"), "{in x}1795252819005{in 5");
    }

    fn read(json: &str) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::from_str::<Bytes>(json).map(|bytes| bytes.0)
    }

    #[test]
    fn each_character_is_a_byte() {
        assert_eq!(read(r#""a\r\n\u0000\u00ff""#).unwrap(), b"a\r\n\0\xff");
    }

    #[test]
    fn parts_are_joined_and_repeated() {
        let json = r#"["<", {"repeat": "ab", "times": 3}, ">"]"#;
        assert_eq!(read(json).unwrap(), b"<ababab>");
    }

    #[test]
    fn a_repetition_with_an_unknown_field_is_refused() {
        assert!(read(r#"[{"repeat": "a", "times": 3, "time": 4}]"#).is_err());
    }

    #[test]
    fn a_character_beyond_a_byte_is_refused() {
        let error = read(r#""€""#).unwrap_err().to_string();
        assert!(error.contains("U+0080"), "{error}");
    }
}
