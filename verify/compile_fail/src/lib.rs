//! Programs that answer an invocation wrongly do not compile: `tests/`.
