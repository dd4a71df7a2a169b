//! The C interface: bootstraps in seven languages under the lab, the vectors for clients through
//! both layers, and layer two under wrong use, signals, losses and outages.
//!
//! `capi/install` builds the library; each bootstrap is built as its users would build it.

mod build;
mod layer_two;
mod outages;
mod player;
mod users;
mod vectors;
