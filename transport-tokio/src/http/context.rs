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
/// The types are those of the crate `aws_lambda_events`.
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
}

impl RequestContext {
    /// The stage of the API; `None` if the source has no stages, or it is the default stage, which
    /// is not in paths.
    pub fn stage(&self) -> Option<&str> {
        let stage = match self {
            Self::ApiGatewayV2(context) => context.stage.as_deref(),
            Self::ApiGatewayV1(context) => context.stage.as_deref(),
            Self::FunctionUrl(_) | Self::LoadBalancer(_) => None,
        };
        stage.filter(|stage| !stage.is_empty() && *stage != DEFAULT_STAGE)
    }

    /// The path as the client requested it, with the stage if that is in it; `None` if the source
    /// does not tell.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::FunctionUrl(context) => context.http.path.as_deref(),
            Self::ApiGatewayV2(context) => context.http.path.as_deref(),
            Self::ApiGatewayV1(context) => context.path.as_deref(),
            Self::LoadBalancer(_) => None,
        }
    }

    /// The domain name that the client used.
    pub(super) fn domain_name(&self) -> Option<&str> {
        match self {
            Self::FunctionUrl(context) => context.domain_name.as_deref(),
            Self::ApiGatewayV2(context) => context.domain_name.as_deref(),
            Self::ApiGatewayV1(context) => context.domain_name.as_deref(),
            Self::LoadBalancer(_) => None,
        }
    }

    /// The address of the client.
    pub(super) fn source_ip(&self) -> Option<&str> {
        match self {
            Self::FunctionUrl(context) => context.http.source_ip.as_deref(),
            Self::ApiGatewayV2(context) => context.http.source_ip.as_deref(),
            Self::ApiGatewayV1(context) => context.identity.source_ip.as_deref(),
            Self::LoadBalancer(_) => None,
        }
    }
}

/// The stage of an HTTP API that is served at the root of its address
/// [API Gateway Developer Guide: stages for HTTP APIs].
const DEFAULT_STAGE: &str = "$default";
