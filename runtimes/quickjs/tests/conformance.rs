//! Every vector for clients of the Runtime API, played against `examples/conformance.mjs`.
#![allow(missing_docs)]

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lambda_conformance::client::{End, Patience, load, play};

/// How many processes run at the same time; they mostly wait.
const AT_ONCE: usize = 8;

/// The function, whose variables are arguments because the player clears the environment.
fn function() -> Command {
    let mut command = Command::new("env");
    command.args([
        "LAMBDA_QUICKJS_MODE=raw",
        concat!("LAMBDA_TASK_ROOT=", env!("CARGO_MANIFEST_DIR"), "/examples"),
        "_HANDLER=conformance.handler",
        env!("CARGO_BIN_EXE_lambda-quickjs"),
    ]);
    command
}

#[test]
fn the_runtime_does_what_every_vector_for_clients_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/client");
    let files = load(&folder).unwrap();
    let vectors: Vec<_> = files
        .iter()
        .flat_map(|file| file.vectors.iter().map(move |vector| (file, vector)))
        .collect();
    assert!(!vectors.is_empty());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(vec![]));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((file, vector)) = vectors.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = play(vector, function(), Patience::default()).unwrap();
                    let deviation = report.deviation.as_ref().map(ToString::to_string);
                    let signal =
                        (report.end == End::Exited(None)).then(|| "ended by a signal".to_owned());
                    if let Some(fault) = deviation.or(signal) {
                        let (file, vector, output) = (&file.name, &vector.name, &report.output);
                        wrong.lock().unwrap().push(format!("{file}: {vector}: {fault}\n{output}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} vectors", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}
