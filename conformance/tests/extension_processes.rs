//! Every vector for extensions against the test extension as a process.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lambda_conformance::client::{End, Patience, load, play};

/// How many processes run at the same time; they mostly wait.
const AT_ONCE: usize = 8;

#[test]
fn the_extension_does_what_every_vector_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("extension");
    let files = load(&folder).unwrap_or_else(|error| panic!("{error}"));
    let vectors: Vec<_> = files
        .iter()
        .flat_map(|file| file.vectors.iter().map(move |vector| (&file.name, vector)))
        .collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((file, vector)) = vectors.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let command = Command::new(env!("CARGO_BIN_EXE_extension-socket"));
                    let report = play(vector, command, Patience::default()).expect("it starts");
                    let mut faults: Vec<_> =
                        report.deviation.iter().map(ToString::to_string).collect();
                    if report.has_panicked() || report.end == End::Exited(None) {
                        faults.push(format!("it has panicked, or {}", report.end));
                    }
                    if !faults.is_empty() {
                        let faults = faults.join("; ");
                        let text = format!("{file}: {}: {faults}\n{}", vector.name, report.output);
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(vectors.len() > 100, "{} vectors", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}
