//! Programs that answer an invocation wrongly do not compile.
//!
//! The expected messages are those of the toolchain in use; `TRYBUILD=overwrite` regenerates them.

#[test]
fn a_wrong_number_of_answers_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/std/*.rs");
    programs.compile_fail("tests/tokio/*.rs");
}
