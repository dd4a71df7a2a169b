//! Compares `lambda-quickjs` with Node.js and `aws-lambda-ric`, the client with which AWS runs it.

pub mod orphans;
