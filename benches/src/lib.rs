//! The bytes of the service, which several programs of the benches use.

pub mod canned;
