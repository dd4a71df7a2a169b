//! AWS's emulator does what the vectors for services say, but for the differences that are known, which
//! are in `conformance/service/known/emulator.json`. The same with the lab is in `lab_vectors.rs`.

use lambda_conformance::service::complaints;
use lambda_interop::conformance::Peer;

#[test]
fn the_emulator_does_what_the_vectors_say_but_for_the_known_differences() {
    let outcomes = Peer::Emulator.play_all().unwrap();
    let outcomes = outcomes.iter().map(|((file, name), it)| (file.as_str(), name.as_str(), it));
    let complaints = complaints(outcomes);
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}
