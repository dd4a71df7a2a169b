//! Plays the vectors for services against AWS's emulator. Known differences are listed in
//! `conformance/service/known/emulator.json`; `lab_vectors.rs` does the same with the lab.

use lambda_conformance::service::complaints;
use lambda_interop::conformance::Peer;

#[test]
fn the_emulator_conforms_except_for_known_differences() {
    let outcomes = Peer::Emulator.play_all().unwrap();
    let outcomes = outcomes.iter().map(|((file, name), it)| (file.as_str(), name.as_str(), it));
    let complaints = complaints(outcomes);
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}
