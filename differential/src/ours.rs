//! What `lambda-proto` makes of a reply.

use lambda_proto::http::{HeadScanner, parse_response_head};
use lambda_proto::metadata::{MetadataEvent, MetadataReader};

use crate::client::{Reading, Reply};
use crate::memory::Fields;

/// Reads one reply that arrives in these pieces; the stream ends behind them.
///
/// The reader is that of the metadata endpoint, which has no phases, and shares all that reads HTTP
/// with those of the other APIs.
pub fn receive_by_ours<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Reading {
    let mut reader = MetadataReader::default();
    let (mut input, mut length) = (Vec::new(), 0);
    let (mut body, mut reply) = (Vec::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut rest = input.get(length..).unwrap_or_default();
        loop {
            match reader.receive(&mut rest) {
                Err(error) => return Reading::Refused(format!("{error:?}")),
                Ok(Some(MetadataEvent::Document(piece))) => body.extend_from_slice(piece),
                Ok(Some(MetadataEvent::Reply(complete))) => reply = Some(complete),
                Ok(None) => break,
            }
        }
        length = input.len() - rest.len();
    }
    let ends_with_stream = reply.is_none();
    let Some(reply) = reply.or_else(|| reader.end_of_stream()) else { return Reading::Incomplete };
    Reading::Accepted(Reply {
        status: reply.status(),
        fields: final_fields(&input),
        body,
        ends_with_stream,
        length,
        is_persistent: (length == input.len()).then_some(reply.is_persistent()),
    })
}

/// The fields of the first head that is not an interim one.
fn final_fields(input: &[u8]) -> Fields {
    let mut rest = input;
    loop {
        let end = HeadScanner::default().find_end(rest).ok().flatten().expect("it has been read");
        let (head, behind) = rest.split_at(end);
        let mut fields = Fields::new();
        let response = parse_response_head(head, |name, value| {
            fields.push((String::from_utf8_lossy(name).to_lowercase(), value.to_vec()));
        });
        if !matches!(response.expect("it has been read").status, 100..=199) {
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            return fields;
        }
        rest = behind;
    }
}
