//! Replays every input of the corpora, and every input that has broken a target.

use std::fs::{self, File};
use std::io::Read;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lambda_proto_fuzz_targets::TARGETS;

fn folder(kind: &str, target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(kind).join(target)
}

/// The files of a folder, in order; none if there is no such folder.
fn files(folder: &PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// The inputs of a target's corpus, with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let path = folder("corpus", target).with_extension("tar");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut archive = tar::Archive::new(file);
    let input = |entry: std::io::Result<tar::Entry<'_, File>>| {
        let mut entry = entry.expect("an entry");
        let name = format!("{}: {}", path.display(), entry.path().expect("a path").display());
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("the data of an entry");
        (name, data)
    };
    archive.entries().expect("an archive").map(input).collect()
}

/// The inputs that have broken a target.
fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let input = |path: &PathBuf| (path.display().to_string(), fs::read(path).expect("a file"));
    files(&folder("regressions", target)).iter().map(input).collect()
}

/// The number of panics in all threads, some of which are never joined.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn all_stored_inputs_pass() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Relaxed);
        print(info);
    }));
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for (input, data) in corpus.iter().chain(&regressions(name)) {
            let held = panic::catch_unwind(|| target(data)).is_ok();
            assert!(held && PANICS.load(Relaxed) == 0, "{name}: {input}");
        }
    }
}

#[test]
fn empty_and_one_byte_inputs_pass() {
    for (name, target) in TARGETS.iter().filter(|(name, _)| *name != "lab_requests") {
        target(&[]);
        for byte in 0..=255 {
            assert!(panic::catch_unwind(|| target(&[byte])).is_ok(), "{name}: {byte}");
        }
    }
}

#[test]
fn targets_programs_and_corpora_correspond() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let stems =
        |kind| -> Vec<_> { files(&folder(kind, "")).iter().map(|path| stem(path)).collect() };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    assert!(stems("regressions").iter().all(|name| names.contains(name)));
}
