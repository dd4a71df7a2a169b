//! Every vector for clients against core, in memory: in one piece, and with the bytes of the
//! service split at every position. The result must not depend on how bytes arrive, or on how many
//! a write takes.

use std::path::Path;

use lambda_conformance::client::{
    Delivery, File, Step, Transcript, Vector, load, not_for_core, play_in_memory,
};

/// How many random deliveries of each kind.
const RANDOM: usize = 32;

/// How many bytes all deliveries of one vector may move, about. In a release build, vectors of a
/// few kilobytes are cut at every position, and those of megabytes, whose heads are the same, at
/// some. A debug build takes a sample.
const MOST_BYTES: usize = if cfg!(debug_assertions) { 128 * 1024 } else { 8 * 1024 * 1024 };

fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("client");
    load(&folder).unwrap_or_else(|error| panic!("{error}"))
}

/// Calls `check` with each vector that can be played against core, and with whether its service is
/// hostile. Panics with all failures, one for each vector.
fn each(mut check: impl FnMut(&Vector, bool) -> Result<(), String>) {
    let mut troubles = Vec::new();
    for file in files() {
        let is_hostile = file.name.starts_with("hostile");
        for vector in file.vectors.iter().filter(|vector| not_for_core(vector).is_none()) {
            if let Err(trouble) = check(vector, is_hostile) {
                troubles.push(format!("{}: {}\n  {trouble}", file.name, vector.name));
            }
        }
    }
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
}

fn play(vector: &Vector, delivery: &Delivery) -> Result<Transcript, String> {
    let played = play_in_memory(vector, delivery);
    played.map_err(|deviation| format!("{deviation}\n  {delivery:?}"))
}

/// Whether the vector leaves the client a choice, which may depend on what it has read by then.
fn leaves_a_choice(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Either(_) | Step::ReadHead(_)))
}

/// Plays a vector with this delivery, and compares the result with that of one in one piece.
fn compare(vector: &Vector, delivery: &Delivery, whole: &Transcript) -> Result<(), String> {
    let other = play(vector, delivery)?;
    // Which of several slots is served first depends on what has arrived by then.
    if leaves_a_choice(&vector.steps) || whole.seen.len() > 1 {
        return Ok(());
    }
    let difference = if other.seen != whole.seen {
        format!("seen: {:?}\n  {:?}", other.seen, whole.seen)
    } else if other.sent != whole.sent || other.end != whole.end {
        "it sends something else, or ends differently".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{difference}\n  {delivery:?}"))
}

/// How often a vector of this size may be played.
fn times(whole: &Transcript) -> usize {
    let moved = whole.read + whole.sent.iter().map(Vec::len).sum::<usize>();
    (MOST_BYTES / moved.max(1)).max(4)
}

/// The positions at which to split what the service writes.
fn positions(whole: &Transcript, random: &mut Random) -> Vec<usize> {
    let times = times(whole);
    if whole.read <= times {
        return (1..whole.read).collect();
    }
    (0..times).map(|_| 1 + random.below(whole.read - 1)).collect()
}

#[test]
fn core_does_what_every_vector_says() {
    let mut count = 0;
    each(|vector, _| {
        count += 1;
        play(vector, &Delivery::default()).map(drop)
    });
    println!("{count} vectors");
    assert!(count > 0);
}

#[test]
fn delivery_byte_by_byte_changes_nothing() {
    each(|vector, _| {
        let whole = play(vector, &Delivery::default())?;
        // Megabytes would take minutes, and test nothing more than kilobytes.
        let most_read = if whole.read <= 256 * 1024 { 1 } else { 1021 };
        compare(vector, &Delivery { most_read: Some(most_read), ..Delivery::default() }, &whole)
    });
}

#[test]
fn a_split_at_any_position_changes_nothing() {
    let (mut random, mut count) = (Random(1), 0);
    each(|vector, _| {
        let whole = play(vector, &Delivery::default())?;
        positions(&whole, &mut random).into_iter().try_for_each(|cut| {
            count += 1;
            compare(vector, &Delivery { cuts: vec![cut], ..Delivery::default() }, &whole)
        })
    });
    println!("{count} deliveries");
}

#[test]
fn splits_at_two_positions_and_short_writes_change_nothing() {
    let mut random = Random(2);
    each(|vector, _| {
        let whole = play(vector, &Delivery::default())?;
        // After each short write the player parses the whole request again, which is slow.
        (0..(times(&whole) / 16).clamp(1, RANDOM)).try_for_each(|_| {
            let mut cuts = vec![random.below(whole.read + 1), random.below(whole.read + 1)];
            cuts.sort_unstable();
            compare(vector, &Delivery { cuts, ..Delivery::default() }, &whole)?;
            // Short enough to end in every part of a request, and long enough for megabytes.
            let most = 1 + whole.sent.iter().map(Vec::len).max().unwrap_or(0) / 16;
            let writes = (0..7).map(|_| 1 + random.below(most)).collect();
            compare(vector, &Delivery { writes, ..Delivery::default() }, &whole)
        })
    });
}

#[test]
fn replies_to_pipelined_requests_are_matched_wherever_they_are_split() {
    let (mut random, mut count, mut all) = (Random(3), 0, 0);
    each(|vector, is_hostile| {
        // An unsolicited reply would be taken as the reply to the pipelined request.
        if is_hostile {
            return Ok(());
        }
        all += 1;
        let together = Delivery { is_pipelined: true, ..Delivery::default() };
        // After a lost connection, a client behaves differently if `next` had been sent too.
        let Ok(whole) = play_in_memory(vector, &together) else { return Ok(()) };
        count += 1;
        for cut in positions(&whole, &mut random) {
            compare(vector, &Delivery { cuts: vec![cut], ..together.clone() }, &whole)?;
        }
        compare(vector, &Delivery { most_read: Some(1021), ..together }, &whole)
    });
    println!("{count} of {all} vectors");
    assert!(count * 2 > all, "{count} of {all} vectors hold if `next` is sent with the answer");
}

#[test]
fn a_client_that_sends_something_else_deviates() {
    let vector = &files().into_iter().flat_map(|file| file.vectors).next().unwrap();
    // A request that begins with an extra byte.
    let mut player = lambda_conformance::client::Player::new(vector, "127.0.0.1:9001");
    let connection = player.opened();
    player.received(connection, b"XGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let deviation = player.step().unwrap_err();
    assert_eq!(deviation.step, 1);
    assert!(deviation.what.contains("XGET"), "{deviation}");
}

/// Pseudo-random numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's linear congruential generator, of which the upper bits are used.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).map_or(0, |number| number % limit.max(1))
    }
}
