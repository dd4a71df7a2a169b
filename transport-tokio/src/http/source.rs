//! Which source an event comes from, and what the request needs of its context.

use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::context::{RequestContext, UnreadContext};
use super::event::{Event, EventError, Text};

/// Where events of HTTP requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    FunctionUrl,
    /// With payload format 2.0.
    HttpApi,
    /// With payload format 1.0.
    HttpApiV1,
    RestApi,
    LoadBalancer,
}

/// The source of an event, and the context that the source has added.
pub(super) struct Origin<'e> {
    pub(super) source: Source,
    members: Members<'e>,
    http: Http<'e>,
    json: &'e str,
}

/// The members of a context that tell the sources apart, and those that are part of the request.
///
/// They are read apart from the types of `aws_lambda_events`, which take a context only whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'e> {
    /// Of load balancers.
    elb: Option<IgnoredAny>,
    /// Of format 2.0.
    #[serde(borrow)]
    http: Option<&'e RawValue>,
    #[serde(borrow, default)]
    domain_name: Lenient<Text<'e>>,
    #[serde(borrow, default)]
    stage: Lenient<Text<'e>>,
    /// Of format 1.0.
    #[serde(borrow, default)]
    path: Lenient<Text<'e>>,
    /// Of format 1.0.
    #[serde(borrow, default)]
    identity: Lenient<Identity<'e>>,
}

/// The request in a context of format 2.0.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http<'e> {
    #[serde(borrow, default)]
    method: Lenient<Text<'e>>,
    #[serde(borrow, default)]
    path: Lenient<Text<'e>>,
    #[serde(borrow, default)]
    source_ip: Lenient<Text<'e>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'e> {
    #[serde(borrow, default)]
    source_ip: Lenient<Text<'e>>,
}

impl<'e> Origin<'e> {
    /// The origin of an event.
    ///
    /// # Errors
    ///
    /// If it is none of the sources.
    pub(super) fn of(event: &Event<'e>) -> Result<Self, EventError> {
        if event.r#type.is_some() {
            return Err(EventError::NotHttp);
        }
        let json = event.request_context.ok_or(EventError::NotHttp)?.get();
        // A list of values would be read as the members in their order.
        if !json.starts_with('{') {
            return Err(EventError::NotHttp);
        }
        let members: Members<'_> = serde_json::from_str(json).map_err(|_| EventError::NotHttp)?;
        let domain_name = members.domain_name.as_deref();
        let source = if members.elb.is_some() {
            Source::LoadBalancer
        } else if members.http.is_some() {
            match domain_name.is_some_and(|name| name.contains(FUNCTION_URL)) {
                true => Source::FunctionUrl,
                false => Source::HttpApi,
            }
        } else if event.http_method.is_some() {
            // Events of format 1.0 have a version if they come from an HTTP API.
            match event.version {
                Some(_) => Source::HttpApiV1,
                None => Source::RestApi,
            }
        } else {
            return Err(EventError::NotHttp);
        };
        let http = members.http.and_then(|http| serde_json::from_str(http.get()).ok());
        Ok(Self { source, members, http: http.unwrap_or_default(), json })
    }

    /// The method, if it is in the context.
    pub(super) fn method(&self) -> Option<&str> {
        self.http.method.as_deref()
    }

    pub(super) fn domain_name(&self) -> Option<&str> {
        match self.source {
            Source::LoadBalancer => None,
            _ => self.members.domain_name.as_deref(),
        }
    }

    pub(super) fn stage(&self) -> Option<&str> {
        match self.source {
            Source::HttpApi | Source::HttpApiV1 | Source::RestApi => self.members.stage.as_deref(),
            Source::FunctionUrl | Source::LoadBalancer => None,
        }
    }

    fn path(&self) -> Option<&str> {
        match self.source {
            Source::FunctionUrl | Source::HttpApi => self.http.path.as_deref(),
            Source::HttpApiV1 | Source::RestApi => self.members.path.as_deref(),
            Source::LoadBalancer => None,
        }
    }

    /// The address of the client, unless only a header has it.
    pub(super) fn source_ip(&self) -> Option<&str> {
        match self.source {
            Source::FunctionUrl | Source::HttpApi => self.http.source_ip.as_deref(),
            Source::HttpApiV1 | Source::RestApi => {
                self.members.identity.0.as_ref()?.source_ip.as_deref()
            }
            Source::LoadBalancer => None,
        }
    }

    /// The context, as the type that belongs to the source if that can hold it.
    pub(super) fn context(&self) -> RequestContext {
        let context = match self.source {
            Source::FunctionUrl => self.read(RequestContext::FunctionUrl),
            Source::HttpApi => self.read(RequestContext::ApiGatewayV2),
            Source::HttpApiV1 | Source::RestApi => self.read(RequestContext::ApiGatewayV1),
            Source::LoadBalancer => self.read(RequestContext::LoadBalancer),
        };
        context.unwrap_or_else(|error| {
            RequestContext::Unread(Arc::new(UnreadContext {
                json: self.json.to_owned(),
                error,
                stage: self.stage().map(str::to_owned),
                path: self.path().map(str::to_owned),
            }))
        })
    }

    fn read<T: DeserializeOwned>(
        &self,
        context: impl FnOnce(Arc<T>) -> RequestContext,
    ) -> serde_json::Result<RequestContext> {
        serde_json::from_str(self.json).map(Arc::new).map(context)
    }
}

/// In the domain name of every function URL [Lambda Developer Guide: function URLs].
const FUNCTION_URL: &str = ".lambda-url.";

/// A member that counts as missing if it has another type.
struct Lenient<T>(Option<T>);

impl Lenient<Text<'_>> {
    fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json: &'de RawValue = Deserialize::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).ok()))
    }
}
