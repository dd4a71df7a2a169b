//! Vectors for services: what a runtime and a caller say, and what the service answers.
