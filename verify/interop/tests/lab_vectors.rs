//! Plays the vectors for services against the lab, and some of them with the bytes that are sent to
//! it cut. Known differences are listed in `conformance/service/known/lab.json`.
//!
//! `CUTS=all` cuts at every position, as `just cuts` does. Otherwise the vector that starts processes
//! is cut at a part of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lambda_conformance::service::{self, Cut, Player, Service, Vector, VectorFile, complaints};
use lambda_interop::conformance::Peer;
use lambda_lab::{Function, Lab, Output};

#[test]
fn the_lab_conforms_except_for_known_differences() {
    let outcomes = Peer::Lab.play_all().unwrap();
    let outcomes = outcomes.iter().map(|((file, name), it)| (file.as_str(), name.as_str(), it));
    let complaints = complaints(outcomes);
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}

/// Vectors that cover most requests of a runtime and never wait to see that nothing arrives.
const CUT: [(&str, &str); 9] = [
    ("http", "requests in one write get their replies in order"),
    ("next", "next after next returns the same event again"),
    ("responses", "the chunks of a response are joined"),
    ("responses", "a response with next in the same write is accepted, and the next event comes"),
    ("errors", "the X-Ray cause is removed from an error that contains it"),
    ("streaming", "the prelude of an HTTP response reaches the caller unchanged"),
    ("managed", "an error with another attempt id is refused, and the right one is accepted"),
    ("extensions", "an extension gets an invocation"),
    ("telemetry_delivery", "a subscriber learns of its subscription"),
];

/// A lab that starts no runtime process, so that there can be thousands of them.
struct External(Lab);

impl External {
    fn start(vector: &Vector) -> Self {
        let function = Function::external().timeout(Duration::from_secs(60));
        let function = match vector.service.concurrency {
            None => function,
            Some(concurrency) => function.concurrency(concurrency as usize),
        };
        Self(function.output(Output::Discarded).start().unwrap())
    }
}

impl Service for External {
    fn runtime_api(&self) -> SocketAddr {
        self.0.runtime_api().parse().unwrap()
    }

    fn invoke_api(&self) -> SocketAddr {
        self.0.address()
    }
}

fn play(vector: &Vector, cut: Cut) -> usize {
    let player = Player { cut, ..Player::default() };
    let played = player.play(vector, &External::start(vector));
    played.unwrap_or_else(|failure| panic!("\"{}\", {cut:?}: {failure}", vector.name))
}

/// Plays a vector whole, byte by byte, and cut at each position that is a multiple of the distance,
/// several at the same time.
fn play_cut(
    vector: &Vector,
    distance: usize,
    at_once: usize,
    play: impl Fn(&Vector, Cut) -> usize + Sync,
) {
    let length = play(vector, Cut::Whole);
    assert!(length > 100, "{}: {length} bytes", vector.name);
    assert_eq!(play(vector, Cut::EveryByte), length);
    let next = AtomicUsize::new(distance);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let cut = next.fetch_add(distance, Ordering::Relaxed);
                    if cut >= length {
                        return;
                    }
                    play(vector, Cut::After(cut));
                }
            });
        }
    });
}

fn vector<'f>(files: &'f BTreeMap<String, VectorFile>, file: &str, name: &str) -> &'f Vector {
    files[file].vectors.iter().find(|it| it.name == name).expect(name)
}

#[test]
fn the_lab_behaves_the_same_wherever_its_input_is_cut() {
    let files = service::all().unwrap();
    for (file, name) in CUT {
        play_cut(vector(&files, file, name), 1, 4, play);
    }
}

/// Here each lab starts processes: an external extension, and a runtime. That takes its time.
#[test]
fn the_lab_behaves_the_same_wherever_the_input_of_an_external_extension_is_cut() {
    let files = service::all().unwrap();
    let vector = vector(&files, "external_extensions", "an external extension gets an invocation");
    let distance = match std::env::var("CUTS").as_deref() {
        Ok("all") => 1,
        Ok(other) => panic!("CUTS={other}: only CUTS=all is known"),
        Err(_) => 7,
    };
    play_cut(vector, distance, 16, |vector, cut| {
        let player = Player { cut, ..Player::default() };
        let played = Peer::Lab.play(vector, &player).unwrap();
        played.unwrap_or_else(|failure| panic!("{cut:?}: {failure}"))
    });
}
