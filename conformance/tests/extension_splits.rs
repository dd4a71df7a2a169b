//! Every vector for extensions against the machines of `lambda_proto_extension`, in memory: in one
//! piece, byte by byte, and with the bytes of the service split at every position. The result must
//! not depend on how bytes arrive, or on how many a write takes.

use std::collections::BTreeMap;
use std::path::Path;

use lambda_conformance::client::{
    Delivery, ExtensionTranscript, File, Step, Vector, load, play_extension_in_memory,
};
use lambda_conformance::extension_program::Plan;

/// About how many bytes all deliveries of one vector may move.
const MOST_BYTES: usize = if cfg!(debug_assertions) { 48 * 1024 } else { 8 * 1024 * 1024 };

fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("extension");
    load(&folder).unwrap_or_else(|error| panic!("{error}"))
}

/// Calls `check` with each vector and panics with all failures.
fn each(mut check: impl FnMut(&Vector) -> Result<(), String>) {
    let mut troubles = Vec::new();
    for file in files() {
        for vector in &file.vectors {
            if let Err(trouble) = check(vector) {
                troubles.push(format!("{}: {}\n  {trouble}", file.name, vector.name));
            }
        }
    }
    assert!(troubles.is_empty(), "{} failed:\n{}", troubles.len(), troubles.join("\n"));
}

fn play(vector: &Vector, delivery: &Delivery) -> Result<ExtensionTranscript, String> {
    let played = play_extension_in_memory(vector, delivery);
    played.map_err(|deviation| format!("{deviation}\n  {delivery:?}"))
}

/// Plays a vector with this delivery, and compares the result with that of one in one piece.
fn compare(
    vector: &Vector,
    delivery: &Delivery,
    whole: &ExtensionTranscript,
) -> Result<(), String> {
    let other = play(vector, delivery)?;
    // How much is read of what is refused depends on how it arrives.
    let told = (&other.told, other.exit) == (&whole.told, whole.exit);
    let sent = other.sent == whole.sent && other.replied == whole.replied;
    if told && sent {
        return Ok(());
    }
    let shown = |it: &ExtensionTranscript| {
        let text = |bytes: &Vec<u8>| format!("\n    {}", bytes.escape_ascii());
        let bytes: String = it.sent.iter().chain(&it.replied).map(text).collect();
        format!("{:?} {:?}{bytes}", it.exit, it.told)
    };
    Err(format!("{}\n  {}\n  {delivery:?}", shown(&other), shown(whole)))
}

/// How often a vector of this size may be played.
fn times(whole: &ExtensionTranscript) -> usize {
    (MOST_BYTES / whole.read.max(1)).max(8)
}

#[test]
fn the_machines_do_what_every_vector_says() {
    let mut count = 0;
    each(|vector| {
        count += 1;
        play(vector, &Delivery::default()).map(drop)
    });
    println!("{count} vectors");
    assert!(count > 100, "{count} vectors");
}

#[test]
fn delivery_byte_by_byte_changes_nothing() {
    each(|vector| {
        let whole = play(vector, &Delivery::default())?;
        // A record of 256 KiB is told a byte at a time soon enough, but not in a debug build.
        let most_read = if whole.read < 64 * 1024 { 1 } else { 1021 };
        compare(vector, &Delivery { most_read: Some(most_read), ..Delivery::default() }, &whole)
    });
}

#[test]
fn a_split_at_any_position_changes_nothing() {
    let mut count = 0;
    each(|vector| {
        let whole = play(vector, &Delivery::default())?;
        let apart = whole.read.div_ceil(times(&whole)).max(1);
        (1..whole.read).step_by(apart).try_for_each(|cut| {
            count += 1;
            compare(vector, &Delivery { cuts: vec![cut], ..Delivery::default() }, &whole)
        })
    });
    println!("{count} deliveries");
    assert!(count > 3_000, "{count} deliveries");
}

#[test]
fn short_reads_and_writes_of_any_length_change_nothing() {
    each(|vector| {
        let whole = play(vector, &Delivery::default())?;
        (2..times(&whole).min(40)).try_for_each(|most| {
            let writes = vec![most, 1, 2 * most];
            let most_read = Some(if whole.read < 64 * 1024 { most } else { most * 1021 });
            compare(vector, &Delivery { most_read, writes, ..Delivery::default() }, &whole)
        })
    });
}

#[test]
fn an_extension_that_ignores_what_a_vector_demands_deviates() {
    // Without telemetry, it asks at once; with it, it does not wait for what it never subscribed to.
    let mut deviations = 0;
    for file in files() {
        for mut vector in file.vectors {
            let plan = Plan::read(&vector.environment).expect("a plan");
            if plan == Plan::default() {
                continue;
            }
            vector.environment = BTreeMap::new();
            let played = play_extension_in_memory(&vector, &Delivery::default());
            let name = format!("{}: {}", file.name, vector.name);
            assert!(played.is_err(), "{name}: the environment of the vector does not matter");
            deviations += 1;
        }
    }
    assert!(deviations > 60, "{deviations}");
}

#[test]
fn vectors_that_look_the_same_to_cuts_wait_for_each_step() {
    // What is written to the extension on two connections must not race: between them, the
    // extension has to do something.
    for file in files() {
        for vector in &file.vectors {
            let mut before = None;
            for step in &vector.steps {
                let now = match step {
                    Step::Write(_) => Some("write"),
                    Step::Deliver(_) => Some("deliver"),
                    _ => None,
                };
                let both = (before, now);
                assert!(
                    !matches!(
                        both,
                        (Some("write"), Some("deliver")) | (Some("deliver"), Some("write"))
                    ),
                    "{}: {}",
                    file.name,
                    vector.name
                );
                before = now;
            }
        }
    }
}
