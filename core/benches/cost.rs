//! The cost of the machine without a socket: `cargo bench -p lambda-proto`, about a minute.
//!
//! The heads are those that AWS's emulator writes (`core/tests/captures`). Heads are compared with
//! httparse alone on the same bytes, bodies with a copy of them.

use std::fmt::Write as _;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use lambda_proto::api::{ContentType, Endpoint, InvocationHead, Outcome};
use lambda_proto::limits::{MAX_FIELDS, MAX_HEAD};
use lambda_proto::machine::{Event, Machine};

type Group<'g> = BenchmarkGroup<'g, WallTime>;

/// The head of a typical event.
const EVENT: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Runtime-Aws-Request-Id: 34021ee5-fc1d-4ece-8ea8-10b2215e8d63\r\n\
    Lambda-Runtime-Deadline-Ms: 1795253038551\r\n\
    Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:012345678912:function:test_function\r\n\
    Date: Sat, 21 Nov 2026 09:18:58 GMT\r\nContent-Length: 7\r\n\r\n";

const EVENT_BODY: &str = "{\"k\":1}";

/// The head of an event with every field that Lambda and managed instances send.
const EVENT_WITH_EVERY_FIELD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Runtime-Aws-Request-Id: 34021ee5-fc1d-4ece-8ea8-10b2215e8d63\r\n\
    Lambda-Runtime-Invocation-Id: 422cc8b2-82a8-4d80-a043-fed80f00f4dd\r\n\
    Lambda-Runtime-Deadline-Ms: 1795253038551\r\n\
    Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:012345678912:function:test_function\r\n\
    Lambda-Runtime-Trace-Id: Root=1-6743a1b2-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1;Lineage=1:0123abcd:0\r\n\
    Lambda-Runtime-Client-Context: {\"custom\":{\"key\":\"value\"},\"env\":{\"locale\":\"en-GB\"}}\r\n\
    Lambda-Runtime-Cognito-Identity: {\"cognitoIdentityId\":\"us-east-1:0123\",\"cognitoIdentityPoolId\":\"us-east-1:4567\"}\r\n\
    Lambda-Runtime-Aws-Tenant-Id: tenant-a\r\n\
    Date: Sat, 21 Nov 2026 09:18:58 GMT\r\nContent-Length: 7\r\n\r\n";

const TAKEN: &str = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Sat, 21 Nov 2026 09:18:58 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

const IN_CHUNKS: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Runtime-Aws-Request-Id: 34021ee5-fc1d-4ece-8ea8-10b2215e8d63\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

const MIB: usize = 1024 * 1024;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(40)
        .configure_from_args();
    requests(&mut criterion.benchmark_group("request written"));
    head(&mut criterion.benchmark_group("head of an event"), EVENT);
    head(
        &mut criterion.benchmark_group("head of an event with every field"),
        EVENT_WITH_EVERY_FIELD,
    );
    reply(&mut criterion.benchmark_group("reply 202"));
    chunked_event(&mut criterion.benchmark_group("event of 6 MiB in chunks"));
    head_byte_by_byte(&mut criterion.benchmark_group("head byte by byte"));
    head_with_many_headers(&mut criterion.benchmark_group("head with many headers"));
    long_run(&mut criterion.benchmark_group("invocations in a row"));
    criterion.final_summary();
}

/// A machine that has asked for an event.
fn asking() -> Machine {
    let mut machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
    let length = machine.next(&mut [0; 512]).unwrap();
    machine.sent(length);
    machine
}

/// A machine with an invocation in flight.
fn invoking() -> Machine {
    let mut machine = asking();
    let bytes = [EVENT, EVENT_BODY].concat();
    let mut input = bytes.as_bytes();
    while machine.receive(&mut input).unwrap().is_some() {}
    machine
}

/// A machine that has answered and awaits the reply.
fn answering() -> Machine {
    let mut machine = invoking();
    let length = machine.respond(Some(ContentType::JSON), 7, &mut [0; 512]).unwrap();
    machine.sent(length + 7);
    machine
}

/// Measures something that a machine can do once, on clones that all stay in the cache.
fn once<T>(
    group: &mut Group<'_>,
    id: impl Into<BenchmarkId>,
    machine: &Machine,
    mut routine: impl FnMut(&mut Machine) -> T,
) {
    group.bench_function(id.into(), |bencher| {
        let copies = BatchSize::NumIterations(16);
        bencher.iter_batched_ref(|| machine.clone(), |machine| routine(machine), copies);
    });
}

fn requests(group: &mut Group<'_>) {
    let mut out = [0; 512];
    let before = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
    once(group, id("next"), &before, |machine| machine.next(black_box(&mut out)));
    once(group, id("respond"), &invoking(), |machine| {
        machine.respond(black_box(Some(ContentType::JSON)), black_box(128), black_box(&mut out))
    });
}

fn head(group: &mut Group<'_>, head: &str) {
    let head = head.as_bytes();
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("httparse alone", |bencher| {
        bencher.iter(|| httparse_alone(black_box(head)));
    });
    group.bench_function("InvocationHead::parse", |bencher| {
        bencher.iter(|| {
            let (invocation, framing) = InvocationHead::parse(black_box(head)).unwrap();
            black_box(framing);
            read_fields(&invocation);
        });
    });
    once(group, id("Machine::receive"), &asking(), |machine| {
        let Ok(Some(Event::Invocation(invocation))) = machine.receive(&mut black_box(head)) else {
            panic!("it is an event");
        };
        read_fields(&invocation);
    });
}

fn reply(group: &mut Group<'_>) {
    let bytes = TAKEN.as_bytes();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("httparse alone", |bencher| {
        bencher.iter(|| httparse_alone(black_box(bytes)));
    });
    once(group, id("Machine::receive"), &answering(), |machine| -> Outcome {
        match machine.receive(&mut black_box(bytes)) {
            Ok(Some(Event::Outcome(outcome))) => outcome,
            _ => panic!("it is a reply"),
        }
    });
}

fn chunked_event(group: &mut Group<'_>) {
    // Go's server writes chunks of 2 KiB unless the handler writes more at once.
    for chunk in [2 * 1024, 32 * 1024] {
        let (body, size) = (vec![b'x'; chunk], format!("{chunk:x}\r\n"));
        let piece = [size.as_bytes(), &body, b"\r\n"].concat();
        let bytes = [&piece.repeat(6 * MIB / chunk), &b"0\r\n\r\n"[..]].concat();
        let mut place = vec![0; 6 * MIB];
        let mut machine = asking();
        machine.receive(&mut IN_CHUNKS.as_bytes()).unwrap();

        group.throughput(Throughput::Bytes(6 * MIB as u64));
        once(group, of("Machine::receive", chunk), &machine, |machine| {
            let mut input = black_box(&bytes[..]);
            while let Some(event) = machine.receive(&mut input).unwrap() {
                black_box(event);
            }
        });
        once(group, of("Machine::receive, copied into place", chunk), &machine, |machine| {
            let (mut input, mut at) = (black_box(&bytes[..]), 0);
            while let Some(event) = machine.receive(&mut input).unwrap() {
                if let Event::Body(piece) = event {
                    place[at..at + piece.len()].copy_from_slice(piece);
                    at += piece.len();
                }
            }
            assert_eq!(at, 6 * MIB);
        });
    }
    let (from, mut to) = (vec![b'x'; 6 * MIB], vec![0; 6 * MIB]);
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    });
}

/// The time for each byte must be the same, however long the head is.
fn head_byte_by_byte(group: &mut Group<'_>) {
    for length in [1024, 8 * 1024, MAX_HEAD] {
        let head = padded(EVENT, length);
        group.throughput(Throughput::Bytes(length as u64));
        once(group, of("Machine::receive", length), &asking(), |machine| {
            for end in 1..length {
                assert_eq!(machine.receive(&mut &head[..end]), Ok(None));
            }
            let whole = machine.receive(&mut &head[..]);
            assert!(matches!(whole, Ok(Some(Event::Invocation(_)))));
        });
    }
}

/// The time for each header must be the same, however many there are.
fn head_with_many_headers(group: &mut Group<'_>) {
    for count in [8, 32, MAX_FIELDS] {
        let mut head = EVENT.strip_suffix("\r\n").unwrap().to_owned();
        // The head already has 6 fields.
        for number in 6..count {
            write!(head, "X-Some-Header-{number:03}: a value, as long as such a value is\r\n")
                .unwrap();
        }
        head.push_str("\r\n");
        let head = head.as_bytes();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(of("httparse alone", count), |bencher| {
            bencher.iter(|| httparse_alone(black_box(head)));
        });
        once(group, of("Machine::receive", count), &asking(), |machine| {
            assert!(matches!(machine.receive(&mut &head[..]), Ok(Some(Event::Invocation(_)))));
        });
    }
}

/// The time for each invocation must be the same, however many there were.
fn long_run(group: &mut Group<'_>) {
    let event = [EVENT, EVENT_BODY].concat();
    for count in [1, 100, 10_000] {
        group.throughput(Throughput::Elements(count as u64));
        once(group, of("next, event, respond, 202", count), &asking(), |machine| {
            let mut out = [0; 512];
            for _ in 0..count {
                let mut input = event.as_bytes();
                while let Some(event) = machine.receive(&mut input).unwrap() {
                    black_box(event);
                }
                let length = machine.respond(Some(ContentType::JSON), 7, &mut out).unwrap();
                machine.sent(length + 7);
                let outcome = machine.receive(&mut TAKEN.as_bytes()).unwrap();
                assert!(matches!(outcome, Some(Event::Outcome(_))));
                let length = machine.next(&mut out).unwrap();
                machine.sent(length);
            }
        });
    }
}

/// Parses a head with httparse, with room for as many fields as core accepts.
fn httparse_alone(head: &[u8]) -> usize {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    config.parse_response_with_uninit_headers(&mut response, head, &mut storage).unwrap();
    black_box(response.headers).len()
}

fn read_fields(head: &InvocationHead<'_>) {
    black_box((
        head.request_id(),
        head.attempt_id(),
        head.deadline(),
        head.invoked_function_arn(),
        head.trace_id(),
        head.client_context(),
        head.cognito_identity(),
        head.tenant_id(),
        head.content_type(),
    ));
}

/// A head that one more field pads to this length.
fn padded(head: &str, length: usize) -> Vec<u8> {
    let head = head.strip_suffix("\r\n").unwrap();
    let value = "x".repeat(length - head.len() - "Padding: \r\n\r\n".len());
    format!("{head}Padding: {value}\r\n\r\n").into_bytes()
}

fn id(name: &str) -> BenchmarkId {
    BenchmarkId::from_parameter(name)
}

fn of(name: &str, parameter: usize) -> BenchmarkId {
    BenchmarkId::new(name, parameter)
}
