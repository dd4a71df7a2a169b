//! What a function imports after its move, under the name from which it imported before.

#[cfg(feature = "imports")]
pub use lambda_proto_tokio::lambda_runtime::*;
