//! The C interface: bootstraps in seven languages under the lab, the vectors for clients through
//! both layers, and layer two under wrong use, losses and signals.
//!
//! `capi/install` builds the library; each bootstrap is built as its users would build it.

mod build;
mod layer_two;
mod users;
mod vectors;
