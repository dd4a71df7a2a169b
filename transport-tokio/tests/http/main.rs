//! HTTP applications behind API Gateway, load balancers and function URLs.
#![cfg(feature = "http")]

mod failures;
mod hostile;
mod requests;
mod responses;
mod streams;
mod support;
