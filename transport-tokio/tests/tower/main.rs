//! Services of tower as handlers.
#![cfg(feature = "tower")]

mod answers;
mod ends;
mod layers;
mod lifecycle;
mod panics;
mod support;
