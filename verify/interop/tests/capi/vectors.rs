//! The vectors for clients through the C interface, with the function of `capi/tests/vectors`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lambda_conformance::client::{End, Patience, load, play};
use lambda_interop::c_programs::{self, Layer};

use crate::build::SANITIZERS;

/// How many processes run at the same time; they mostly wait.
const AT_ONCE: usize = 32;

/// Plays all vectors against these programs.
fn conform(programs: &[PathBuf]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/client");
    let files = load(&folder).unwrap_or_else(|error| panic!("{error}"));
    let vectors = files.iter().flat_map(|file| file.vectors.iter().map(move |it| (file, it)));
    let plays =
        vectors.flat_map(|(file, vector)| programs.iter().map(move |it| (file, vector, it)));
    let plays: Vec<_> = plays.collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((file, vector, program)) =
                    plays.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let report = play(vector, Command::new(program), Patience::default()).unwrap();
                    // A sanitizer ends the process with a report; a bug, with a signal.
                    let is_broken =
                        report.end == End::Exited(None) || report.output.contains("Sanitizer");
                    if report.deviation.is_some() || is_broken {
                        let fault = report.deviation.map(|it| it.to_string());
                        let (file, name, output) = (&file.name, &vector.name, report.output);
                        let program = program.display();
                        let text = format!("{file}: {name}\n  {program}: {fault:?}\n  {output}");
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} plays", plays.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), plays.len(), wrong.join("\n"));
}

#[test]
fn both_layers_do_what_every_vector_says_under_the_sanitizers() {
    let program = |layer, name| c_programs::vectors(layer, name, &SANITIZERS);
    let programs = [
        program(Layer::One, "vectors-client").unwrap_or_else(|error| panic!("{error}")),
        program(Layer::Two, "vectors-runtime").unwrap_or_else(|error| panic!("{error}")),
    ];
    conform(&programs);
}
