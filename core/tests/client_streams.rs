//! The head of a stream is held back until there is a piece or an end.

mod event_loop;

use event_loop::{ACCEPTED, Memory, REPORT, client_of, event, feed, refusal, whole};
use lambda_proto::api::{ContentType, Endpoint, ErrorReport};
use lambda_proto::client::{Client, End, Exchange, Receipt, Step, Warning};
use lambda_proto::limits::MAX_CONTENT_TYPE;
use lambda_proto::machine::{CommandError, Machine, Phase};

const PIECE: &[u8] = b"the first piece";

fn quiet(warning: &Warning<'_>) {
    panic!("{warning}");
}

/// Does the next step, and returns what it warns of.
fn take_step(client: &mut Client<Memory>) -> (Step, Vec<String>) {
    let mut warnings = Vec::new();
    let step = client.exchange().step(|warning| warnings.push(warning.to_string()));
    (step, warnings)
}

/// Writes everything, up to the next step that is not a write.
fn write(client: &mut Client<Memory>, body: &[u8]) -> (Vec<u8>, Step) {
    let mut written = Vec::new();
    loop {
        match client.exchange().step(quiet) {
            Step::Connect { .. } => client.exchange().connected(),
            Step::Write => {
                let unsent = client.exchange().unsent(body).concat();
                assert_eq!(unsent.len(), client.machine().unsent_len(), "bytes are missing");
                client.exchange().sent(unsent.len());
                written.extend(unsent);
            }
            step => return (written, step),
        }
    }
}

/// Asks for an invocation and gets it.
fn invoke(client: &mut Client<Memory>, id: &str) {
    client.ask().unwrap();
    assert_eq!(write(client, b"").1, Step::Read);
    feed(client, &event(id, b"1", 0));
    assert_eq!(client.exchange().step(quiet), Step::Answer);
}

/// A client with an invocation in flight.
fn in_flight() -> Client<Memory> {
    let mut client = client_of(4096, 4096);
    invoke(&mut client, "a");
    client
}

/// A client with a stream that has begun.
fn held() -> Client<Memory> {
    let mut client = in_flight();
    client.exchange().stream(ContentType::TEXT).unwrap();
    client
}

/// The head of the stream of this invocation.
fn head(id: &str) -> Vec<u8> {
    let mut client = client_of(4096, 4096);
    invoke(&mut client, id);
    client.exchange().stream(ContentType::TEXT).unwrap();
    client.exchange().finish(false).unwrap();
    let head = client.exchange().unsent(b"").concat();
    assert!(head.starts_with(b"POST ") && head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
    head
}

/// The client answers this invocation as if it were the first.
#[track_caller]
fn assert_clean(client: &mut Client<Memory>, id: &str) {
    invoke(client, id);
    assert!(!client.is_streaming());
    client.exchange().respond(None, 3, false).unwrap();
    let (written, step) = write(client, b"abc");
    let (request, length) = whole(&written).unwrap();
    assert_eq!((&*request.call, &*request.id, &*request.body), ("response", id, &b"abc"[..]));
    assert_eq!((length, step), (written.len(), Step::Read));
    feed(client, ACCEPTED);
    let (step, _) = take_step(client);
    assert!(matches!(step, Step::Settled(Receipt::Known(outcome)) if outcome.is_accepted()));
}

#[test]
fn nothing_of_a_stream_is_sent_before_its_first_piece() {
    let mut client = held();
    for _ in 0..2 {
        assert_eq!(client.exchange().step(quiet), Step::Answer);
        assert_eq!(client.exchange().unsent(b"").concat(), b"");
        assert!(client.is_streaming() && !client.machine().is_streaming());
        assert_eq!(client.invocation().unwrap().request_id(), "a");
        // An empty piece does not count.
        client.exchange().chunk(0).unwrap();
    }
    client.exchange().chunk(PIECE.len()).unwrap();
    let (written, step) = write(&mut client, PIECE);
    assert_eq!(written, [&head("a")[..], b"f\r\nthe first piece"].concat());
    assert_eq!(step, Step::Answer);
    assert!(client.is_streaming() && client.machine().is_streaming());
    client.exchange().chunk(2).unwrap();
    assert_eq!(write(&mut client, b"xy"), (b"\r\n2\r\nxy".to_vec(), Step::Answer));
    client.exchange().finish(false).unwrap();
    assert!(!client.is_streaming());
    assert_eq!(write(&mut client, b""), (b"\r\n0\r\n\r\n".to_vec(), Step::Read));
}

#[test]
fn the_head_and_the_first_piece_are_two_writes_and_so_are_the_head_and_the_end() {
    type Ends = fn(&mut Exchange<'_, Memory>) -> Result<(), CommandError>;
    let all: [(Ends, &[u8]); 2] = [
        (|exchange| exchange.chunk(PIECE.len()), b"f\r\nthe first piece"),
        (|exchange| exchange.finish(false), b"0\r\n\r\n"),
    ];
    for (ends, follows) in all {
        let mut client = held();
        ends(&mut client.exchange()).unwrap();
        for expected in [&head("a")[..], follows] {
            assert_eq!(client.exchange().step(quiet), Step::Write);
            assert_eq!(client.exchange().unsent(PIECE).concat(), expected);
            client.exchange().sent(expected.len());
        }
    }
}

#[test]
fn a_command_that_is_refused_before_the_first_piece_is_encoded_changes_nothing() {
    type Command = fn(&mut Exchange<'_, Memory>) -> Result<(), CommandError>;
    let commands: [Command; 5] = [
        |exchange| exchange.chunk(3),
        |exchange| exchange.chunk(0),
        |exchange| exchange.finish(false),
        |exchange| exchange.finish(true),
        |exchange| exchange.fail(&REPORT, |_| ()),
    ];
    let length = head("a").len();
    for command in commands {
        for sent in [0, 1, length] {
            let mut client = held();
            client.exchange().chunk(PIECE.len()).unwrap();
            assert_eq!(client.exchange().step(quiet), Step::Write);
            client.exchange().sent(sent);
            let refused = command(&mut client.exchange());
            assert!(matches!(refused, Err(CommandError::Unsent { length: 1.. })), "{refused:?}");
            assert_eq!(client.machine().unsent_len(), length - sent, "{sent} bytes sent");
            assert_eq!(client.exchange().unsent(PIECE).concat(), head("a")[sent..]);
            let follows = [&head("a")[sent..], b"f\r\nthe first piece"].concat();
            assert_eq!(write(&mut client, PIECE), (follows, Step::Answer));
        }
    }
}

#[test]
fn a_stream_that_ends_without_a_piece_has_an_empty_body() {
    for is_pipelined in [false, true] {
        let mut client = held();
        client.exchange().finish(is_pipelined).unwrap();
        let (written, step) = write(&mut client, b"");
        let end = &written[head("a").len()..];
        if is_pipelined {
            assert!(end.starts_with(b"0\r\n\r\nGET "), "{}", end.escape_ascii());
            assert_eq!(step, Step::Settled(Receipt::Pipelined));
            feed(&mut client, ACCEPTED);
            feed(&mut client, &event("b", b"2", 0));
            assert_eq!(client.exchange().step(quiet), Step::Answer);
            assert_eq!(client.invocation().unwrap().request_id(), "b");
        } else {
            assert_eq!((end, step), (&b"0\r\n\r\n"[..], Step::Read));
            feed(&mut client, ACCEPTED);
            assert!(matches!(client.exchange().step(quiet), Step::Settled(Receipt::Known(_))));
            assert_clean(&mut client, "b");
        }
    }
}

#[test]
fn a_stream_that_fails_before_its_first_piece_is_reported_as_an_error() {
    type Fails = fn(&mut Client<Memory>) -> Result<(), CommandError>;
    let fails: [(Fails, &str); 2] = [
        (|client| client.exchange().fail(&REPORT, |_| {}), "Function.Broken"),
        (|client| client.give_up(|_| {}), "Runtime.NoResponse"),
    ];
    for (fail, error_type) in fails {
        for is_lost in [false, true] {
            let mut client = held();
            client.exchange().chunk(0).unwrap();
            if is_lost {
                client.exchange().lost();
                assert_eq!(client.exchange().step(quiet), Step::Answer);
            }
            fail(&mut client).unwrap();
            assert!(!client.is_streaming());
            let (written, _) = write(&mut client, b"");
            let (request, length) = whole(&written).unwrap();
            assert_eq!((&*request.call, &*request.id, length), ("error", "a", written.len()));
            let body = String::from_utf8(request.body).unwrap();
            assert!(body.contains(error_type), "{body}");
            feed(&mut client, ACCEPTED);
            assert!(matches!(client.exchange().step(quiet), Step::Settled(Receipt::Known(_))));
            assert_clean(&mut client, "b");
        }
    }
}

#[test]
fn a_stream_that_fails_after_its_first_piece_ends_with_trailers() {
    let mut client = held();
    client.exchange().chunk(PIECE.len()).unwrap();
    // Not before the piece is sent.
    let unsent = client.exchange().fail(&REPORT, |_| {});
    assert!(matches!(unsent, Err(CommandError::Unsent { .. })));
    client.exchange().sent(head("a").len());
    let unsent = client.give_up(|_| {});
    assert_eq!(unsent, Err(CommandError::Unsent { length: PIECE.len() }));
    assert_eq!(write(&mut client, PIECE), (b"f\r\nthe first piece".to_vec(), Step::Answer));
    client.exchange().fail(&REPORT, |_| {}).unwrap();
    let (end, _) = write(&mut client, b"");
    assert!(end.starts_with(b"\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Broken\r\n"));
}

#[test]
fn a_connection_that_is_lost_before_the_first_piece_costs_nothing() {
    let mut client = held();
    for lost in 1..4 {
        match lost {
            1 => client.exchange().lost(),
            2 => client.exchange().received(0),
            _ => feed(&mut client, b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
        }
        let (step, warnings) = take_step(&mut client);
        assert_eq!((step, warnings.len()), (Step::Answer, usize::from(lost == 3)), "{warnings:?}");
        assert!(!client.is_connected() && client.is_streaming());
        client.exchange().connected();
    }
    client.exchange().lost();
    client.exchange().chunk(PIECE.len()).unwrap();
    let (written, step) = write(&mut client, PIECE);
    assert_eq!(written, [&head("a")[..], b"f\r\nthe first piece"].concat());
    assert_eq!(step, Step::Answer);
}

/// Loses the connection of a client that has sent `cut` bytes of the head. Returns whether the
/// client sends the whole stream on the next connection. If not, the fate of the answer is unknown.
#[track_caller]
fn goes_on_after(cut: usize, end: fn(&mut Client<Memory>), follows: &[u8]) -> bool {
    let mut client = held();
    end(&mut client);
    assert_eq!(client.exchange().step(quiet), Step::Write);
    client.exchange().sent(cut);
    client.exchange().lost();
    let (step, warnings) = take_step(&mut client);
    if matches!(step, Step::Connect { .. }) {
        assert_eq!(warnings, [""; 0]);
        let (written, _) = write(&mut client, PIECE);
        assert_eq!(written, [&head("a")[..], follows].concat(), "after {cut} bytes");
        return true;
    }
    assert_eq!(step, Step::Settled(Receipt::FateUnknown), "after {cut} bytes");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("whether the answer arrived is unknown"), "{warnings:?}");
    // The bytes that were to follow the head are not sent after anything else.
    assert!(!client.is_streaming());
    assert_eq!(client.exchange().step(quiet), Step::Idle);
    assert_clean(&mut client, "b");
    false
}

#[test]
fn after_a_loss_a_stream_is_sent_again_only_if_no_byte_of_its_head_was_sent() {
    for cut in 0..=head("a").len() {
        let piece = |client: &mut Client<Memory>| {
            client.exchange().chunk(PIECE.len()).unwrap();
        };
        let end = |client: &mut Client<Memory>| client.exchange().finish(false).unwrap();
        assert_eq!(goes_on_after(cut, piece, b"f\r\nthe first piece"), cut == 0);
        assert_eq!(goes_on_after(cut, end, b"0\r\n\r\n"), cut == 0);
    }
}

#[test]
fn a_failed_write_of_the_head_is_a_loss_at_its_first_byte_and_later_leaves_the_reply_to_read() {
    for cut in 0..=head("a").len() {
        let mut client = held();
        client.exchange().chunk(PIECE.len()).unwrap();
        assert_eq!(client.exchange().step(quiet), Step::Write);
        client.exchange().sent(cut);
        client.exchange().write_failed();
        if cut == 0 {
            let (written, step) = write(&mut client, PIECE);
            assert!(written.ends_with(PIECE) && step == Step::Answer);
            continue;
        }
        assert_eq!(client.exchange().step(quiet), Step::Read, "after {cut} bytes");
        assert_eq!(client.exchange().chunk(1), Err(CommandError::MustReconnect));
        feed(&mut client, &refusal(413));
        let (step, _) = take_step(&mut client);
        assert!(matches!(step, Step::Settled(Receipt::Known(outcome)) if outcome.status() == 413));
        assert!(!client.is_streaming());
        assert_clean(&mut client, "b");
    }
}

#[test]
fn a_piece_is_not_sent_after_a_head_that_has_been_replied_to() {
    let reply = refusal(413);
    for begun in 1..=reply.len() {
        let mut client = held();
        client.exchange().chunk(PIECE.len()).unwrap();
        assert_eq!(client.exchange().step(quiet), Step::Write);
        client.exchange().sent(head("a").len());
        feed(&mut client, &reply[..begun]);
        if begun < reply.len() {
            assert_eq!(client.exchange().step(quiet), Step::Read, "{begun} bytes");
            assert_eq!(client.exchange().chunk(1), Err(CommandError::MustReconnect));
            assert_eq!(client.exchange().finish(true), Err(CommandError::MustReconnect));
            feed(&mut client, &reply[begun..]);
        }
        let (step, _) = take_step(&mut client);
        assert!(matches!(step, Step::Settled(Receipt::Known(outcome)) if outcome.status() == 413));
        assert_clean(&mut client, "b");
    }
}

#[test]
fn an_interim_reply_to_the_head_lets_the_piece_follow() {
    let mut client = held();
    client.exchange().chunk(PIECE.len()).unwrap();
    assert_eq!(client.exchange().step(quiet), Step::Write);
    client.exchange().sent(head("a").len());
    feed(&mut client, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(write(&mut client, PIECE), (b"f\r\nthe first piece".to_vec(), Step::Answer));
}

#[test]
fn a_stream_that_has_begun_allows_no_other_answer() {
    let wrong = Err(CommandError::WrongPhase(Phase::Invoking));
    let mut client = held();
    assert_eq!(client.exchange().stream(ContentType::JSON), wrong);
    assert_eq!(client.exchange().respond(None, 1, true), wrong);
    assert_eq!(client.ask(), wrong);
    client.exchange().chunk(PIECE.len()).unwrap();
    assert_eq!(client.exchange().stream(ContentType::JSON), wrong);
    assert_eq!(client.exchange().respond(None, 1, true), wrong);
    let (written, _) = write(&mut client, PIECE);
    assert_eq!(written, [&head("a")[..], b"f\r\nthe first piece"].concat());
    assert_eq!(client.exchange().stream(ContentType::JSON), wrong);
}

#[test]
fn a_stream_that_has_ended_refuses_commands_even_before_its_head_is_sent() {
    let wrong = Err(CommandError::WrongPhase(Phase::Reporting));
    let mut client = held();
    client.exchange().finish(false).unwrap();
    // Before the head is sent, and after that but before the end is encoded.
    for sent in [0, head("a").len()] {
        client.exchange().sent(sent);
        assert_eq!(client.exchange().chunk(1), wrong);
        assert_eq!(client.exchange().chunk(0), wrong);
        assert_eq!(client.exchange().finish(true), wrong);
        assert_eq!(client.exchange().stream(ContentType::JSON), wrong);
        assert_eq!(client.exchange().respond(None, 1, false), wrong);
        assert!(matches!(client.ask(), Err(CommandError::WrongPhase(_))));
        assert_eq!(client.give_up(quiet), Ok(()));
        let mut told = Vec::new();
        let failed = client.exchange().fail(&REPORT, |warning| told.push(warning.to_string()));
        assert_eq!(failed, wrong);
        let too_late =
            "invocation a: failed after it was answered: Function.Broken: it broke".to_owned();
        assert_eq!(told, [too_late]);
    }
    assert_eq!(write(&mut client, b""), (b"0\r\n\r\n".to_vec(), Step::Read));
}

#[test]
fn no_stream_begins_unless_an_invocation_is_in_flight() {
    let mut client = client_of(4096, 4096);
    let wrong = |phase| Err(CommandError::WrongPhase(phase));
    assert_eq!(client.exchange().stream(ContentType::TEXT), wrong(Phase::Init));
    assert_eq!(client.exchange().chunk(1), wrong(Phase::Init));
    invoke(&mut client, "a");
    assert_eq!(client.exchange().chunk(0), wrong(Phase::Invoking));
    assert_eq!(client.exchange().finish(false), wrong(Phase::Invoking));
    client.exchange().respond(None, 0, false).unwrap();
    assert_eq!(client.exchange().stream(ContentType::TEXT), wrong(Phase::Reporting));
    client.exchange().shut_down();
    assert_eq!(client.exchange().stream(ContentType::TEXT), wrong(Phase::ShuttingDown));
    assert!(!client.is_streaming());
}

/// Clients with a stream in every state before its end has been sent.
fn beginnings() -> [Client<Memory>; 4] {
    [0, 1, 2, 3].map(|what| {
        let mut client = held();
        match what {
            0 => {}
            1 => client.exchange().chunk(PIECE.len()).unwrap(),
            2 => client.exchange().finish(false).unwrap(),
            _ => client.exchange().finish(true).unwrap(),
        }
        client
    })
}

#[test]
fn a_client_that_starts_over_forgets_its_stream() {
    for mut client in beginnings() {
        client.begin_anew();
        assert!(!client.is_streaming());
        assert_clean(&mut client, "b");
    }
}

#[test]
fn a_stream_whose_client_is_shut_down_is_warned_of_and_refuses_commands() {
    for mut client in beginnings() {
        client.exchange().shut_down();
        assert!(!client.is_streaming());
        let gone = Err(CommandError::WrongPhase(Phase::ShuttingDown));
        assert_eq!(client.exchange().chunk(1), gone);
        assert_eq!(client.exchange().finish(true), gone);
        let (step, warnings) = take_step(&mut client);
        assert_eq!(step, Step::Settled(Receipt::FateUnknown));
        assert_eq!(warnings, ["invocation a: the answer was not sent: the session is over"]);
        assert_eq!(client.exchange().step(quiet), Step::End(End::Done));
    }
}

#[test]
fn an_abandoned_stream_sends_nothing_after_its_head() {
    for mut client in beginnings() {
        let mut warnings = 0;
        assert_eq!(client.exchange().abandon(|_| warnings += 1), Receipt::FateUnknown);
        assert_eq!(warnings, 1);
        let (written, _) = write(&mut client, PIECE);
        assert!(written.is_empty() || written == head("a"), "{}", written.escape_ascii());
    }
}

#[test]
fn if_the_head_does_not_fit_the_first_piece_and_the_end_are_refused_but_not_an_error() {
    let content_type = "t".repeat(MAX_CONTENT_TYPE);
    let content_type = ContentType::new(&content_type).unwrap();
    // Enough for the head of an error and 512 bytes of its reply, but not for the head of a stream.
    let (mut events, mut requests) = ([0; 1024], [0; 900]);
    let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
    let mut client = Client::new(machine, &mut events[..], &mut requests[..]);
    client.ask().unwrap();
    client.exchange().connected();
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    let bytes = event("a", b"1", 0);
    let mut exchange = client.exchange();
    exchange.room().unwrap()[..bytes.len()].copy_from_slice(&bytes);
    exchange.received(bytes.len());
    assert_eq!(exchange.step(quiet), Step::Answer);
    exchange.stream(content_type).unwrap();
    for _ in 0..2 {
        assert!(matches!(exchange.chunk(1), Err(CommandError::BufferTooSmall(_))));
        assert!(matches!(exchange.finish(true), Err(CommandError::BufferTooSmall(_))));
        assert!(exchange.is_streaming());
        assert_eq!(exchange.step(quiet), Step::Answer);
    }
    exchange.fail(&ErrorReport::new("Function.Broken", "it broke"), |_| {}).unwrap();
    assert_eq!(exchange.step(quiet), Step::Write);
    let (request, _) = whole(&exchange.unsent(b"").concat()).unwrap();
    assert_eq!((&*request.call, &*request.id), ("error", "a"));
}
