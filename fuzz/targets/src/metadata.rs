//! Replies of the metadata endpoint, and its token.

use lambda_proto::api::Endpoint;
use lambda_proto::http::ReplyError;
use lambda_proto_extension::metadata::{
    ExecutionEnvironment, MetadataEvent, MetadataReader, MetadataReply, MetadataToken,
    encode_request,
};

use crate::input::{Input, cuts};
use crate::request::encode;
use crate::wire;

/// A reply has the same meaning when read as a whole, cut at three positions, and byte by byte. An
/// accepted token appears unchanged in its header.
///
/// The input is a token, a NUL, three positions of two bytes each, and a reply.
pub fn metadata(data: &[u8]) {
    let mut input = Input::new(data);
    let token = input.text(0);
    let numbers = [(); 3].map(|()| input.number());
    let bytes = input.rest();

    if let Ok(checked) = MetadataToken::new(&token) {
        let endpoint = Endpoint::parse("lab:9001").expect("an address");
        let request = encode(|out| encode_request(&endpoint, checked, out));
        let [request] = &wire::requests(&request)[..] else { panic!("one request") };
        assert!(request.is_whole);
        let expected = format!("Bearer {token}");
        assert_eq!(request.field("Authorization"), Some(expected.as_bytes()));
        assert_eq!(format!("{checked:?}"), "MetadataToken(..)");
    }

    let whole = read(bytes, &[]);
    assert_eq!(read(bytes, &cuts(bytes.len(), numbers)), whole);
    assert_eq!(read(bytes, &(1..bytes.len()).collect::<Vec<_>>()), whole);
    if let Some(reply) = whole.reply {
        let _any_will_do = ExecutionEnvironment::parse(&whole.document);
        assert!((100..=999).contains(&reply.status()));
        assert!(reply.max_age().is_none_or(|age| !age.is_zero()));
        let _has_one = reply.meaning();
    }
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    document: Vec<u8>,
    reply: Option<MetadataReply>,
    error: Option<ReplyError>,
}

/// Reads a stream that arrives cut at these positions and then ends.
fn read(bytes: &[u8], cuts: &[usize]) -> Seen {
    let mut reader = MetadataReader::default();
    let mut seen = Seen::default();
    let mut consumed = 0;
    for &end in cuts.iter().chain([&bytes.len()]) {
        let mut input = &bytes[consumed..end];
        loop {
            match reader.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(MetadataEvent::Document(piece))) => {
                    assert!(!piece.is_empty() && seen.reply.is_none());
                    seen.document.extend_from_slice(piece);
                }
                Ok(Some(MetadataEvent::Reply(reply))) => {
                    assert!(seen.reply.replace(reply).is_none(), "one request has one reply");
                }
                Err(error) => {
                    wire::check_line(error);
                    return Seen { error: Some(error), ..seen };
                }
            }
        }
        consumed = end - input.len();
    }
    let last = reader.end_of_stream();
    assert!(last.is_none() || seen.reply.is_none());
    seen.reply = seen.reply.or(last);
    seen
}
