//! What the benches' commands share: the bytes of the service.

pub mod canned;
