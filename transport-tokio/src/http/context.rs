use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lambda_events::alb::AlbTargetGroupRequestContext;
use aws_lambda_events::apigw::{ApiGatewayProxyRequestContext, ApiGatewayV2httpRequestContext};
use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequestContext;

/// The IP address of the client, an extension of the request.
///
/// It is the address that the gateway or the function URL names as the source. Behind a load
/// balancer it is the last one in `X-Forwarded-For`, which the balancer itself has added unless it
/// is configured otherwise; earlier ones are what the client claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// An address, also with a port.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let with_port = || text.parse().map(|address: SocketAddr| address.ip());
        text.parse().or_else(|_| with_port()).ok().map(Self)
    }
}

/// What the source of the event tells about the request, an extension of the request.
///
/// The types are those of the crate `aws_lambda_events`. A context that they cannot hold, because a
/// member is missing or has another type, is [`Unread`](Self::Unread); the request is served all the
/// same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestContext {
    /// Of a function URL.
    FunctionUrl(Arc<LambdaFunctionUrlRequestContext>),
    /// Of an HTTP API with payload format 2.0.
    ApiGatewayV2(Arc<ApiGatewayV2httpRequestContext>),
    /// Of a REST API, or of an HTTP API with payload format 1.0.
    ApiGatewayV1(Arc<ApiGatewayProxyRequestContext>),
    /// Of an Application Load Balancer.
    LoadBalancer(Arc<AlbTargetGroupRequestContext>),
    /// Of any source, in a form that is not the documented one.
    Unread(Arc<UnreadContext>),
}

/// A request context that the type of its source cannot hold.
///
/// An application that depends on a member, such as what an authorizer has found out, has to read it
/// from the [JSON](Self::json), or refuse the request.
#[derive(Debug)]
pub struct UnreadContext {
    pub(super) json: String,
    pub(super) error: serde_json::Error,
    pub(super) stage: Option<String>,
    pub(super) path: Option<String>,
}

impl UnreadContext {
    /// The context as it is in the event, an object in JSON.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Why it has not been read; line and column are those in the [JSON](Self::json).
    pub fn error(&self) -> &serde_json::Error {
        &self.error
    }
}

impl RequestContext {
    /// The stage of the API; `None` if the source has no stages, or it is the default stage, which
    /// is not in paths.
    pub fn stage(&self) -> Option<&str> {
        let stage = match self {
            Self::ApiGatewayV2(context) => context.stage.as_deref(),
            Self::ApiGatewayV1(context) => context.stage.as_deref(),
            Self::Unread(context) => context.stage.as_deref(),
            Self::FunctionUrl(_) | Self::LoadBalancer(_) => None,
        };
        stage.filter(|stage| is_in_paths(stage))
    }

    /// The path as the client requested it, with the stage if that is in it; `None` if the source
    /// does not tell.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::FunctionUrl(context) => context.http.path.as_deref(),
            Self::ApiGatewayV2(context) => context.http.path.as_deref(),
            Self::ApiGatewayV1(context) => context.path.as_deref(),
            Self::Unread(context) => context.path.as_deref(),
            Self::LoadBalancer(_) => None,
        }
    }
}

/// Whether the paths of clients begin with this stage.
pub(super) fn is_in_paths(stage: &str) -> bool {
    !stage.is_empty() && stage != DEFAULT_STAGE
}

/// The stage of an HTTP API that is served at the root of its address
/// [API Gateway Developer Guide: stages for HTTP APIs].
const DEFAULT_STAGE: &str = "$default";
