use std::collections::BTreeMap;

use crate::service::connection::Answer;

/// The replies that a vector has named.
///
/// In later steps `${name.header}` stands for the value of a header of such a reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(BTreeMap<String, Answer>);

impl Known {
    pub(super) fn keep(&mut self, name: &str, answer: Answer) {
        self.0.insert(name.to_owned(), answer);
    }

    /// Keeps a value that is not from a reply as if it were a header.
    pub(super) fn keep_value(&mut self, name: &str, header: &str, value: &[u8]) {
        let headers = vec![(header.to_owned(), value.to_vec())];
        self.keep(name, Answer { status: 0, headers, body: Vec::new() });
    }

    /// The bytes with each `${name.header}` replaced by its value.
    pub(super) fn fill_in(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut filled = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(begin) = find(rest, b"${") {
            let (before, behind) = (&rest[..begin], &rest[begin + 2..]);
            let end = find(behind, b"}").ok_or("unterminated ${")?;
            let reference = String::from_utf8_lossy(&behind[..end]);
            let value = reference
                .split_once('.')
                .and_then(|(name, header)| self.0.get(name)?.header(header))
                .ok_or_else(|| format!("unknown reference ${{{reference}}}"))?;
            filled.extend_from_slice(before);
            filled.extend_from_slice(&value);
            rest = &behind[end + 1..];
        }
        filled.extend_from_slice(rest);
        Ok(filled)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stands_for_the_value_of_a_header() {
        let mut known = Known::default();
        let headers = vec![("X-Id".into(), b"\xff1".to_vec())];
        known.keep("a", Answer { status: 200, headers, body: Vec::new() });
        for (text, filled) in [
            (&b"no name, $ {a.x-id}"[..], Ok(&b"no name, $ {a.x-id}"[..])),
            (b"<${a.x-id}${a.X-ID}>", Ok(b"<\xff1\xff1>")),
            (b"${b.x-id}", Err("unknown reference ${b.x-id}")),
            (b"${a.x-other}", Err("unknown reference ${a.x-other}")),
            (b"${a}", Err("unknown reference ${a}")),
            (b"${a.x-id", Err("unterminated ${")),
        ] {
            let filled = filled.map(<[u8]>::to_vec).map_err(str::to_owned);
            assert_eq!(known.fill_in(text), filled);
        }
    }
}
