//! Services of tower as handlers.

mod answers;
mod ends;
mod layers;
mod lifecycle;
mod panics;
mod support;
