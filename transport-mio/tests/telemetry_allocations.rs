//! Once it is warm, an extension allocates nothing for a record or a batch.

#[path = "../../verify/allocations.rs"]
#[allow(dead_code, reason = "only a part of it is needed")]
mod allocations;
#[path = "../../verify/telemetry/support.rs"]
#[allow(dead_code, reason = "only a part of it is needed")]
mod support;
#[path = "../../verify/telemetry/allocations.rs"]
mod tests;
#[path = "support/transport.rs"]
#[allow(unused_imports, dead_code, reason = "only a part of it is needed")]
mod transport;
