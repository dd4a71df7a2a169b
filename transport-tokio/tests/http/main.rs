//! HTTP applications behind API Gateway, load balancers and function URLs.

mod failures;
mod hostile;
mod requests;
mod responses;
mod streams;
mod support;
