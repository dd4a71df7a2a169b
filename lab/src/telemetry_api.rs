//! The Telemetry API and the Logs API, with which extensions subscribe to telemetry.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use crate::broker::Broker;
use crate::event::MAX_PAYLOAD;
use crate::extensions_api::identifier;
use crate::http::{self, Answering, Collected, collect};
use crate::refusal::{ExtensionRefusal, SubscriptionRefusal};
use crate::settings::Settings;
use crate::telemetry::Api;

impl Api {
    /// The API that a request for this path is made to. Managed instances have no Logs API.
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
}

/// Handles a subscription.
pub(crate) async fn handle(
    api: Api,
    request: Request<Incoming>,
    broker: &Broker,
    settings: &Settings,
) -> Response<Answering> {
    if request.method() != Method::PUT {
        return http::method_not_allowed(&Method::PUT);
    }
    match subscribe(api, request, broker, settings).await {
        Ok(()) => http::json(StatusCode::OK, "\"OK\""),
        Err(refusal) => http::json(refusal.status(), refusal.document()),
    }
}

/// Without telemetry, the on-demand emulator checks neither the identifier nor the body. Otherwise
/// the identifier is checked first.
///
/// Source: emulator, `rapi/handler/runtimelogs.go` and `rapi/handler/runtimelogs_stub.go`;
/// `lambda-managed-instances/rapi/handler/runtimelogs.go`.
async fn subscribe(
    api: Api,
    request: Request<Incoming>,
    broker: &Broker,
    settings: &Settings,
) -> Result<(), SubscriptionRefusal> {
    let (head, mut body) = request.into_parts();
    if !settings.has_telemetry && settings.concurrency.is_none() {
        http::drain(&mut body).await;
        return Err(SubscriptionRefusal::NotSupported(api));
    }
    let known = identifier(&head.headers).and_then(|id| match broker.extension_name(id) {
        Some(name) => Ok((id, name)),
        None => Err(ExtensionRefusal::UnknownExtension(id)),
    });
    let (id, name) = match known {
        Ok(known) if settings.has_telemetry => known,
        refused => {
            http::drain(&mut body).await;
            refused?;
            return Err(SubscriptionRefusal::NotSupported(api));
        }
    };
    match collect(&mut body, MAX_PAYLOAD).await {
        Collected::Whole { body, .. } => broker.telemetry().subscribe(id, &name, api, &body).await,
        Collected::TooLong(_) | Collected::CutOff => Err(SubscriptionRefusal::Internal),
    }
}
