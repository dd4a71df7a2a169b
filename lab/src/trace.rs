//! Trace ids, as in the header `X-Amzn-Trace-Id`.
//!
//! Source: AWS X-Ray Developer Guide, "Tracing header".

use std::time::Duration;

use uuid::Uuid;

/// A new trace id at this time since the Unix epoch.
///
/// It is not sampled: that is what a function gets whose tracing is not active, and its libraries
/// then send nothing to a daemon that does not exist here.
pub(crate) fn generate(now: Duration) -> String {
    // In an id of version 4, these bytes are random; some bits of bytes 6 and 8 are not.
    let (trace, parent) = (Uuid::new_v4(), Uuid::new_v4());
    let bytes = |id: &Uuid, most: usize| {
        let (begin, end) = (&id.as_bytes()[..6], &id.as_bytes()[10..]);
        let random = begin.iter().chain(end).take(most);
        random.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (root, parent) = (bytes(&trace, 12), bytes(&parent, 8));
    format!("Root=1-{:08x}-{root};Parent={parent};Sampled=0", now.as_secs() as u32)
}

/// What the REPORT line says of a trace: nothing, unless it is sampled.
///
/// Source: Lambda Developer Guide, "Working with Lambda function logs".
pub(crate) fn reported(trace_id: &str) -> Option<String> {
    let field = |name: &str| {
        let mut fields = trace_id.split(';').filter_map(|field| field.trim().split_once('='));
        let (_, value) = fields.find(|(it, _)| *it == name)?;
        // Nothing else belongs into a line of the log.
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then_some(value)
    };
    if field("Sampled") != Some("1") {
        return None;
    }
    let mut report = format!("XRAY TraceId: {}\t", field("Root")?);
    if let Some(parent) = field("Parent") {
        report.push_str(&format!("SegmentId: {parent}\t"));
    }
    report.push_str("Sampled: true\t");
    Some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_has_the_time_and_random_digits() {
        let now = Duration::from_secs(0x5759_e988);
        let id = generate(now);
        let (root, rest) = id.split_once(";Parent=").unwrap();
        let (parent, sampled) = rest.split_once(';').unwrap();
        let random = root.strip_prefix("Root=1-5759e988-").unwrap();
        let is_hex = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        assert_eq!((random.len(), parent.len(), sampled), (24, 16, "Sampled=0"));
        assert!(is_hex(random) && is_hex(parent), "{id}");
        assert_ne!(generate(now), id);
    }

    #[test]
    fn only_a_sampled_trace_is_reported() {
        for (id, expected) in [
            (
                "Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1",
                Some(
                    "XRAY TraceId: 1-5759e988-bd862e3f\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t",
                ),
            ),
            ("Root=1-2-3;Sampled=1;Lineage=a:0", Some("XRAY TraceId: 1-2-3\tSampled: true\t")),
            ("Root=1-2-3;Parent=4;Sampled=0", None),
            ("Root=1-2-3", None),
            ("Sampled=1", None),
            ("Root=1\u{1b}[31m;Sampled=1", None),
            ("", None),
        ] {
            assert_eq!(reported(id).as_deref(), expected, "{id}");
        }
        assert_eq!(reported(&generate(Duration::ZERO)), None);
    }
}
