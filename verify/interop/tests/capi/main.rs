//! The C interface: bootstraps in eight languages under the lab, and the vectors for clients through
//! both layers.
//!
//! `capi/install` builds the library; each bootstrap is built as its users would build it.

mod build;
mod users;
mod vectors;
