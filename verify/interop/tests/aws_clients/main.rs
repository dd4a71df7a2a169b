//! AWS's clients for Python and Node.js on `capi/aws-lambda-cpp`, and that library by itself.
//!
//! The clients are built from their sources, unchanged; see [`lambda_interop::aws_clients`].

mod calls;
mod class;
mod clients;
mod programs;
mod threads;
