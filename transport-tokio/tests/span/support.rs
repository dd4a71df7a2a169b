//! A subscriber that keeps spans, and runtimes whose thread it hears.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use lambda_proto_service::{Connection, Event, Request, Running, Service as Lambda};
use lambda_proto_tokio::{Endpoint, Error, Log, Runtime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::registry::LookupSpan;

/// The fields of each span of an invocation, in order.
#[derive(Clone, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<Fields>>>);

/// The fields of a span, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(HashMap<&'static str, String>);

impl Fields {
    /// The value of a field, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// The place of a span in the list.
struct At(usize);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "invocation" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut spans = self.0.lock().unwrap();
        let span = context.span(id).expect("it is new");
        span.extensions_mut().insert(At(spans.len()));
        spans.push(fields);
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it is open");
        if let Some(At(at)) = span.extensions().get() {
            record.record(&mut self.0.lock().unwrap()[*at]);
        }
    }
}

impl Spans {
    /// All spans so far.
    pub(crate) fn all(&self) -> Vec<Fields> {
        self.0.lock().unwrap().clone()
    }

    /// Runs `main` with a runtime on one thread, whose spans are kept here, and whose events are in
    /// the lines of the service, with request id and message.
    pub(crate) fn run(
        &self,
        lambda: &Lambda,
        main: impl AsyncFnOnce(Runtime) -> Result<(), Error> + Send + 'static,
    ) -> Running<Error> {
        let endpoint = Endpoint::parse(&lambda.address()).expect("the test's address is one");
        let runtime = Runtime::new(endpoint).log(|_| {});
        let (stop, lines) = (runtime.stop_handle(), lambda.lines().clone());
        let log = Log::to(move |record| lines.push(record.to_string()));
        let subscriber = registry().with(self.clone()).with(log.tracing_layer());
        let run = move || {
            let _heard = tracing::subscriber::set_default(subscriber);
            let mut tokio = tokio::runtime::Builder::new_current_thread();
            tokio.enable_all().build().expect("tokio starts").block_on(main(runtime))
        };
        Running::new(lambda.lines(), move || stop.stop(), run)
    }
}

/// Serves an event, and takes the answer.
#[track_caller]
pub(crate) fn invoke(connection: &mut Connection, id: &str, body: &str) -> Request {
    connection.invoke(Event::new(id, body));
    let request = connection.request();
    connection.take_answer();
    request
}

/// Checks the status of a span.
#[track_caller]
pub(crate) fn assert_status(span: &Fields, message: Option<&str>) {
    assert_eq!(span.get("otel.status_code"), message.map(|_| "ERROR"), "{span:?}");
    assert_eq!(span.get("otel.status_description"), message, "{span:?}");
}
