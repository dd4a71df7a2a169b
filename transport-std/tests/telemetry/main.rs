//! Telemetry of an extension: the subscription, its records, the ends of invocations and of the
//! environment, and clients that misbehave.

#[path = "../../../verify/telemetry/barrier.rs"]
mod barrier;
#[path = "../../../verify/telemetry/busy.rs"]
mod busy;
#[path = "../../../verify/telemetry/deliveries.rs"]
mod deliveries;
#[path = "../../../verify/telemetry/hostile.rs"]
mod hostile;
mod internal;
#[path = "../../../verify/telemetry/subscription.rs"]
mod subscription;
#[path = "../../../verify/telemetry/support.rs"]
mod support;
#[path = "../support/transport.rs"]
mod transport;
