//! Every file of the corpora, and everything that has ever broken a target, once more.

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lambda_proto_fuzz_targets::TARGETS;

fn folder(kind: &str, target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(kind).join(target)
}

/// The files of a folder, if it is there, in order.
fn files(folder: &PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Panics in whatever thread, some of which nobody waits for.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn every_input_that_is_kept_holds() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Relaxed);
        print(info);
    }));
    for (name, target) in TARGETS {
        let corpus = files(&folder("corpus", name));
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for file in corpus.iter().chain(&files(&folder("regressions", name))) {
            let data = fs::read(file).expect("a file");
            let held = panic::catch_unwind(|| target(&data)).is_ok();
            assert!(held && PANICS.load(Relaxed) == 0, "{name}: {}", file.display());
        }
    }
}

#[test]
fn no_target_minds_an_empty_input_or_any_single_byte() {
    for (name, target) in TARGETS.iter().filter(|(name, _)| *name != "lab_requests") {
        target(&[]);
        for byte in 0..=255 {
            assert!(panic::catch_unwind(|| target(&[byte])).is_ok(), "{name}: {byte}");
        }
    }
}

#[test]
fn every_folder_and_every_program_belongs_to_a_target() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for kind in ["corpus", "regressions"] {
        for folder in files(&folder(kind, "")) {
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(names.contains(&name), "{kind}/{name}");
        }
    }
    let programs: Vec<_> = files(&folder("fuzz_targets", ""))
        .iter()
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(programs, names);
}
