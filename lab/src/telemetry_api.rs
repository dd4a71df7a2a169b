//! The Telemetry API and the Logs API, which the lab does not have: subscriptions are answered as
//! by AWS's emulator, so that an extension which subscribes goes on without them.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use crate::broker::Broker;
use crate::extensions_api::identifier;
use crate::http::{self, Answering};
use crate::refusal::{ExtensionRefusal, document};
use crate::settings::Settings;

/// What an extension may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    Telemetry,
    Logs,
}

impl Subscription {
    /// What a request for this path subscribes to. Managed instances have no Logs API.
    ///
    /// Source: Lambda Developer Guide, "Lambda Telemetry API reference" and "Using the Lambda Logs
    /// API"; emulator, `rapi/router.go`.
    pub(crate) fn of(path: &str, settings: &Settings) -> Option<Self> {
        match path {
            "/2022-07-01/telemetry" => Some(Self::Telemetry),
            "/2020-08-15/logs" if settings.concurrency.is_none() => Some(Self::Logs),
            _ => None,
        }
    }

    /// Handles a request.
    ///
    /// On demand the emulator checks neither the identifier nor the body. For managed instances it
    /// has the Telemetry API, and checks the identifier first.
    ///
    /// Source: emulator, `rapi/handler/runtimelogs_stub.go`;
    /// `lambda-managed-instances/rapi/handler/runtimelogs.go`.
    pub(crate) async fn handle(
        self,
        request: Request<Incoming>,
        broker: &Broker,
        settings: &Settings,
    ) -> Response<Answering> {
        if request.method() != Method::PUT {
            return http::method_not_allowed(&Method::PUT);
        }
        let (head, mut body) = request.into_parts();
        http::drain(&mut body).await;
        let known = match settings.concurrency {
            None => Ok(()),
            Some(_) => identifier(&head.headers).and_then(|id| match broker.has_extension(id) {
                true => Ok(()),
                false => Err(ExtensionRefusal::UnknownExtension(id)),
            }),
        };
        if let Err(refusal) = known {
            return http::json(refusal.status(), refusal.document());
        }
        let document = match self {
            Self::Telemetry => document("Telemetry.NotSupported", "Telemetry API is not supported"),
            Self::Logs => document("Logs.NotSupported", "Logs API is not supported"),
        };
        http::json(StatusCode::ACCEPTED, document)
    }
}
