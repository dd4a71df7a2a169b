//! Writes the seeds of the fuzz targets: `seeds FOLDER` makes a folder in it for each target.
//!
//! It takes the recordings of `core` and `extensions` and the vectors of `conformance`, and
//! prepends the bytes from which each target takes its decisions; see `fuzz/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn main() -> io::Result<()> {
    let Some(to) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds FOLDER");
        std::process::exit(2);
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut said = Said::default();
    said.read_captures(&root.join("core/tests/captures"))?;
    said.read_captures(&root.join("extensions/tests/captures"))?;
    said.read_vectors(&root.join("conformance/client"))?;
    said.read_vectors(&root.join("conformance/service"))?;
    for (target, seeds) in said.seeds() {
        let folder = to.join(target);
        fs::create_dir_all(&folder)?;
        // libFuzzer makes no longer inputs by default.
        let seeds: BTreeSet<_> = seeds.into_iter().filter(|seed| seed.len() <= 4096).collect();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{number:04}")), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

/// The bytes that services and clients sent, session by session.
#[derive(Default)]
struct Said {
    by_services: Vec<Vec<u8>>,
    by_clients: Vec<Vec<u8>>,
}

impl Said {
    fn read_captures(&mut self, folder: &Path) -> io::Result<()> {
        for file in files(folder, "bin")? {
            let bytes = fs::read(&file)?;
            let name = file.to_string_lossy().into_owned();
            let from = if name.ends_with(".s2c.bin") {
                &mut self.by_services
            } else {
                &mut self.by_clients
            };
            from.push(bytes);
        }
        Ok(())
    }

    /// Reads the bytes of the steps `write` and `send`.
    fn read_vectors(&mut self, folder: &Path) -> io::Result<()> {
        for file in files(folder, "json")? {
            let document: Value = serde_json::from_slice(&fs::read(&file)?)?;
            for vector in document["vectors"].as_array().into_iter().flatten() {
                let (mut writes, mut sends) = (Vec::new(), Vec::new());
                find(&vector["steps"], "write", &mut writes);
                find(&vector["steps"], "send", &mut sends);
                self.by_services.push(writes);
                self.by_clients.push(sends);
            }
        }
        Ok(())
    }

    fn seeds(&self) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
        let mut seeds: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
        let mut add = |target, parts: &[&[u8]]| {
            seeds.entry(target).or_default().push(parts.concat());
        };
        for session in &self.by_services {
            // An ordinary embedder, and one with growing memory.
            add("client", &[&[0, 0, 0, 0], session]);
            add("client", &[&[1, 1, 1, 0], session]);
            for answer in split(session, b"HTTP/1.") {
                // As the reply to `next`, to a response, to an error and to `restore/next`.
                for way in [0, 1, 3, 9] {
                    add("machine", &[&[way, 0], &[0; 8], answer]);
                }
                add("response_head", &[&[0], answer]);
                add("metadata", &[b"token\0", &[0; 6], answer]);
                for piece in answer.chunks(255).take(2) {
                    let length = [piece.len() as u8];
                    add("programs", &[&[0, 0x00, 0xc0], &length, piece]);
                    add("programs", &[&[0, 0x00, 0x80, 0x01, 0xc0], &length, piece]);
                    add("extension", &[&[2, 14], &length, piece]);
                    add("extension", &[&[2, 10, 0, 14], &length, piece]);
                }
                let body = body_of(answer);
                add("chunked", &[&[0; 8], body]);
                for kind in 0..6 {
                    add("documents", &[&[kind, 0], body]);
                }
            }
        }
        for session in &self.by_clients {
            let (said, ids) = with_placeholders(session);
            // With an invocation in flight, and without.
            add("lab_requests", &[&[0, 0, 0], &said]);
            add("lab_requests", &[&[1, 0, 0], &said]);
            for id in ids {
                for kind in [0, 1] {
                    add("request", &[&[kind, 0], &[9; 8], &id, b"\0text/plain\0T\0m\0\0attempt"]);
                    add("request", &[&[kind, 1], &[0; 8], &id, b"\0\0T\0m\0a\nb\0"]);
                }
            }
            for request in split(session, b"POST /") {
                let body = body_of(request);
                add("chunked", &[&[0; 8], body]);
                // Not one of Lambda's, but requests.
                add("telemetry_receiver", &[&[0; 8], request]);
                let Ok(report) = serde_json::from_slice::<Value>(body) else { continue };
                let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
                let (kind, message) = (text("errorType"), text("errorMessage"));
                let seed = format!("\0\0\0{kind}\0{message}\0frame\nframe\0{report}\0a=b");
                add("error_report", &[seed.as_bytes()]);
            }
        }
        for (target, seed) in WRITTEN_BY_HAND {
            add(target, &[seed]);
        }
        for batch in BATCHES {
            for (memory, chunk) in [(0, 0), (0, 7), (3, 0), (2, 255)] {
                add("telemetry_batch", &[&[memory, chunk], &[0; 6], batch]);
            }
            let length = format!("Content-Length: {}\r\n\r\n", batch.len());
            for line in REQUEST_LINES {
                for decisions in [0, 0x55] {
                    let request = [line, length.as_bytes(), batch];
                    let [one, two] = [request.concat(), request.concat()];
                    add("telemetry_receiver", &[&[0, decisions], &[0; 6], &one, &two]);
                }
            }
        }
        seeds
    }
}

/// Seeds for behaviour that occurs in no session.
const WRITTEN_BY_HAND: &[(&str, &[u8])] = &[
    ("endpoint", b"127.0.0.1:9001\0name/1.0 (a b)"),
    ("endpoint", b"http://[::1]:9000/.rt/a%20b/"),
    ("endpoint", b"https://example.com"),
    ("endpoint", b"host:0"),
    (
        "environment",
        b"_HANDLER=a.b\nAWS_REGION=eu-central-1\nAWS_LAMBDA_FUNCTION_NAME=f\n\
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512\nAWS_LAMBDA_LOG_LEVEL=warn\nAWS_LAMBDA_LOG_FORMAT=json\n\
          AWS_LAMBDA_INITIALIZATION_TYPE=snap-start\nAWS_LAMBDA_METADATA_TOKEN=0123456789\n\
          _LAMBDA_TELEMETRY_LOG_FD=3\nAWS_DEFAULT_REGION=\xff",
    ),
    (
        "documents",
        b"\x05\0{\"eventType\":\"INVOKE\",\"deadlineMs\":1795252820229,\"requestId\":\"r\",\"invokedFunctionArn\":\"a\",\"tracing\":{\"type\":\"X\",\"value\":\"v\"}}",
    ),
    ("documents", b"\x05\0{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":1,\"shutdownReason\":\"Timeout\"}"),
    ("documents", b"\x04\0{\"AvailabilityZoneID\":\"use1-az1\"}"),
    ("documents", b"\x02\0{\"client\":{\"installation_id\":\"i\",\"app_title\":\"\\n\\b\\f\\r\\t\\u00e9\\ud83c\\udf75\\ud83c\"}}"),
    ("lifecycle", &[0, 1, 1, 1, 1, 1, 1, 0x00, 1, 1, 0x10, 2, 2, 0x20, 2, 2, 0x30, 2, 2, 0x02, 3, 3, 0x05, 9, 9]),
    ("lifecycle", &[0, 1, 1, 1, 1, 1, 1, 0x00, 1, 1, 0x05, 9, 9, 1, 0, 1, 1, 1, 1, 99, 1, 0x06, 1, 1, 0x17, 1, 1]),
    ("lifecycle", &[1, 1, 1, 1, 1, 1, 1, 0x07, 1, 1, 1, 1, 2, 2, 5, 90, 1, 50, 5, 5, 1, 0x04, 1, 1]),
    ("request", &[2; 40]),
    ("request", &[3; 40]),
    ("request", &[4; 40]),
    ("request", &[5; 40]),
    ("error_report", b"\x40\0\0Function.\xf0\x9f\x8d\xb5\0\"\\\x01\n\r\t\0a\n\nb\r\n\0{\"a\":\"\xc3\xa9\"}\0a"),
    ("error_report", b"\xc8\0\xffFunction.Broken\0message \0frame\nframe\0[]\0a=b"),
    ("error_report", b"\xc8\0\0x-name\0value\0x-other\0other\0a=b"),
    // All commands with their replies; then a stream that fails; then lost connections.
    ("programs", &[0, 0x00, 0x80, 0x01, 0x81, 0x00, 0x82, 0x03, 0x04, 0x05, 0x81, 0x00, 0xd3, b'a', b'b', b'c']),
    ("programs", &[1, 0x0a, 0x8e, 0x00, 0x83, 0x03, 0x04, 0x06, 0x00, 0x81, 0x80, 0x02, 0x85]),
    ("programs", &[0, 0x00, 0x80, 0x01, 0xf0, 0x71, 0x7f, 0x81, 0x00, 0xf0, 0x00, 0x9c, 0xfa]),
    // An invocation through the C interface, twice; with growing memory, a stream, failures.
    ("capi_programs", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("capi_programs", &[1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1]),
    ("capi_programs", &[4, 1, 1, 2, 3, 0, 0, 0, 9, 0, 0, 0, 7, 0, 24, 0, 0, 33, 0, 0, 0, 9, 0, 0, 32, 1, 0, 0, 42, 0, 0, 0, 0, 1, 0]),
    ("capi_programs", &[0, 0, 1, 0, 0, 201, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 235, 3, b'v', b'i', b'a', 1]),
    ("capi_programs", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 168, 4, 0, 0, 224, 9, 1, 228, 0, 230, 4, 0, 0, 0]),
    // A slow embedder that answers in every way and loses connections.
    ("client", &[0, 0, 0, 16, 0, 0, 20, 3, 200, 0, 5, 0, 7, 0, 12, 0, 204, 0, 0, 235]),
    ("client", &[0, 0, 0, 16, 14, 0, 0, 206, 0, 0, 200, 1, 30, 203, 0, 201, 18, 0, 0, 230]),
    // A reply, and then an event that fits its memory only after it has been moved to the front.
    (
        "client",
        b"\x04\0\0\x06\0\0\xc8\x01\0\xc7HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
          HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 200\r\n\r\n\
          01234567890123456789\
          012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
          012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    ),
    ("extension", &[2, 10, 0, 0x1a, 4, 0x4a, 7, 6]),
    ("extension", &[0x21, 1, b'a', 10, 3, 0x3a, 8]),
];

/// Batches of telemetry, some of them broken.
const BATCHES: &[&[u8]] = &[
    b"[]",
    b"{}",
    b" [ 1 , ] x",
    b"[{\"time\":\"2022-10-12T00:00:15.064Z\",\"type\":\"function\",\"record\":\"a \\\"b\\\" \\ud83c\\udf75\\n\"},{\"type\":\"extension\",\"record\":{\"level\":\"INFO\"}}]",
    b"[{\"time\":\"2022-10-12T00:00:15.064+01:00\",\"type\":\"platform.report\",\"record\":{\"requestId\":\"1\",\"status\":\"success\",\"metrics\":{\"durationMs\":1.5e1,\"billedDurationMs\":100,\"memorySizeMB\":128,\"maxMemoryUsedMB\":64},\"spans\":[{\"name\":\"responseLatency\",\"start\":\"2022-10-12T00:00:15.1Z\",\"durationMs\":1}],\"tracing\":{\"type\":\"X-Amzn-Trace-Id\",\"value\":\"Root=1\"}}}]",
    b"[{\"type\":\"platform.initStart\",\"record\":{\"initializationType\":\"snap-start\",\"phase\":\"init\",\"functionName\":\"f\"}},{\"type\":\"platform.logsDropped\",\"record\":{\"reason\":\"slow\",\"droppedRecords\":1,\"droppedBytes\":2}},{\"type\":\"platform.extension\",\"record\":{\"name\":\"e\",\"events\":[\"INVOKE\"]}}]",
    b"[{\"type\":\"platform.start\",\"record\":{\"requestId\":7}},{]},{\"type\":\"platform.fault\",\"record\":\"it failed\"},[[[",
    b"{\"type\":\"function\",\"record\":\"1\"}\n{\"type\":\"function\",\"record\":\"2\"}\r\n\nnone",
];

/// The starts of heads before a field with the length.
const REQUEST_LINES: &[&[u8]] = &[
    b"POST / HTTP/1.1\r\nHost: a\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nSequence-Id: YQ==\r\nExpect: 100-continue\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\n",
    b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
];

/// The files of a folder with this ending, in order; none if there is no such folder.
fn files(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = fs::read_dir(folder)?.map(|file| file.map(|file| file.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|it| it == ending));
    files.sort();
    Ok(files)
}

/// Collects the bytes of every step of this name.
fn find(steps: &Value, name: &str, found: &mut Vec<u8>) {
    match steps {
        Value::Array(steps) => steps.iter().for_each(|step| find(step, name, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    put_bytes(value, found);
                } else {
                    find(value, name, found);
                }
            }
        }
        _ => {}
    }
}

/// Decodes bytes from the notation of `conformance/README.md`.
fn put_bytes(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::String(text) => to.extend(text.chars().filter_map(|it| u8::try_from(it).ok())),
        Value::Array(parts) => parts.iter().for_each(|part| put_bytes(part, to)),
        Value::Object(fields) => {
            // More would exceed the length of a seed.
            let times = fields.get("times").and_then(Value::as_u64).unwrap_or(1).min(4096);
            for value in ["bytes", "repeat"].iter().filter_map(|name| fields.get(*name)) {
                (0..times).for_each(|_| put_bytes(value, to));
            }
        }
        _ => {}
    }
}

/// Splits before each occurrence of `start`.
fn split<'b>(bytes: &'b [u8], start: &[u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let next = rest[1..].windows(start.len()).position(|window| window == start);
        let (piece, behind) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn body_of(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|end| end == b"\r\n\r\n");
    end.map_or(message, |end| &message[end + 4..])
}

/// The bytes of a client with `{id}` instead of the ids in its paths, and the ids.
fn with_placeholders(said: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    const BEFORE: &[u8] = b"POST /2018-06-01/runtime/invocation/";
    let (mut replaced, mut ids) = (Vec::new(), Vec::new());
    for piece in split(said, BEFORE) {
        let id = piece.strip_prefix(BEFORE).and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'/')?;
            Some(rest.split_at(end))
        });
        match id {
            Some((id, rest)) => {
                ids.push(id.to_vec());
                replaced.extend([BEFORE, b"{id}", rest].concat());
            }
            None => replaced.extend_from_slice(piece),
        }
    }
    (replaced, ids)
}
