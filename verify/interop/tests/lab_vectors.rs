//! Plays the vectors for services against the lab, and some of them with the bytes that are sent to
//! it cut. Known differences are listed in `conformance/service/known/lab.json`.
//!
//! `CUTS=all` cuts at every position, as `just cuts` does. Otherwise the vector that starts processes,
//! and most of those for extensions and their subscriptions, are cut at a part of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lambda_conformance::service::{
    self, Cut, Player, Service, Settings, Step, Vector, VectorFile, complaints,
};
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

/// Longer than a busy machine takes for a vector whose bytes are sent one by one.
const PATIENCE: Duration = Duration::from_secs(600);

/// A lab that starts no runtime process, so that there can be thousands of them.
struct External(Lab);

impl External {
    fn start(vector: &Vector) -> Self {
        let function = Function::external().timeout(PATIENCE);
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
    let player = Player { cut, patience: PATIENCE, ..Player::default() };
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
    assert!(length > 50, "{}: {length} bytes", vector.name);
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

/// The files whose vectors are cut if they need no process, and never wait to see that nothing
/// arrives.
const FILES: [&str; 4] = ["extensions", "logs", "managed_telemetry", "telemetry"];

/// Those of them that only an extension of a runtime that the lab has started meets: one that registers
/// its name again on its only connection is taken for the next runtime that is started by hand.
const NOT_BY_HAND: [&str; 1] = ["a name that is taken is refused"];

fn is_quick(vector: &Vector) -> bool {
    let is_plain = match &vector.service {
        Settings {
            extensions,
            telemetry,
            timeout: None,
            snapstart: false,
            json_logs: false,
            ..
        } => extensions.is_empty() && *telemetry != Some(false),
        _ => false,
    };
    let is_quick = |step: &Step| match step {
        Step::Invoke(_, invoke) => !invoke.restarts,
        Step::Hangs(_) | Step::Starts(_) | Step::Order(..) | Step::Stop => false,
        _ => true,
    };
    is_plain && vector.steps.iter().all(is_quick)
}

#[test]
fn the_lab_behaves_the_same_wherever_the_input_of_extensions_is_cut() {
    let files = service::all().unwrap();
    let vectors = FILES.iter().flat_map(|file| &files[*file].vectors);
    let is_met = |it: &Vector| Player::default().play(it, &External::start(it)).is_ok();
    let (vectors, others): (Vec<_>, Vec<_>) =
        vectors.filter(|it| is_quick(it)).partition(|it| is_met(it));
    let others: Vec<_> = others.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(others, NOT_BY_HAND);
    assert!(vectors.len() > 100, "{} vectors", vectors.len());
    let distance = distance(61);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(vector) = vectors.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play_cut(vector, distance, 1, play);
                }
            });
        }
    });
}

/// The distance of two cuts, which is this one unless all are wanted.
fn distance(otherwise: usize) -> usize {
    match std::env::var("CUTS").as_deref() {
        Ok("all") => 1,
        Ok(other) => panic!("CUTS={other}: only CUTS=all is known"),
        Err(_) => otherwise,
    }
}

/// Here each lab starts processes: an external extension, and a runtime. That takes its time.
#[test]
fn the_lab_behaves_the_same_wherever_the_input_of_an_external_extension_is_cut() {
    let files = service::all().unwrap();
    let vector = vector(&files, "external_extensions", "an external extension gets an invocation");
    play_cut(vector, distance(7), 16, |vector, cut| {
        let player = Player { cut, ..Player::default() };
        let played = Peer::Lab.play(vector, &player).unwrap();
        played.unwrap_or_else(|failure| panic!("{cut:?}: {failure}"))
    });
}
