//! A function that calls a service of AWS: it puts an order into a queue of SQS, and answers
//! `{"order":"two pears"}` with the id of the message.
//!
//! The client is made once, by an init hook, and all invocations share it. [`invoked`] gives each
//! request the trace id and the time limit of its invocation. The README says what the tests show.

mod invoked;

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use lambda_proto_tokio::{Error, ErrorType, Failure, Lifecycle, Runtime};
use serde::{Deserialize, Serialize};

use crate::invoked::{Invoked, OfInvocation};

/// How long one attempt may take. SQS takes some milliseconds, so one that takes this long is lost,
/// and there is still time for another.
const ATTEMPT: Duration = Duration::from_secs(1);

/// The longest pause before the second attempt, with half of it on average; the next is twice as
/// long. The SDK's default of a second suits programs without a deadline.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Event {
    order: String,
}

#[derive(Serialize)]
struct Accepted {
    message_id: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let lifecycle = Lifecycle::new().on_init("queue", async |init| -> Result<(), Failure> {
        init.put(Queue::connect().await?);
        Ok(())
    });
    let runtime = Runtime::from_env()?.error_type::<OrderError>().lifecycle(lifecycle);
    runtime
        .run(async |invocation, responder, context| {
            let event: Event = invocation.json()?;
            let queue: &Queue = context.get().ok_or("the process is about to end")?;
            let sending = queue.send(&event.order);
            let message_id = Invoked::by(&invocation, &context).during(sending).await?;
            responder.json(Accepted { message_id }).await
        })
        .await
}

/// A queue and the client for it, which has the connections.
struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    async fn connect() -> Result<Self, Failure> {
        let url = std::env::var("QUEUE_URL")
            .map_err(|_| "QUEUE_URL is not set: give the function the URL of its queue")?;
        // The time of all attempts together depends on the invocation: see `OfInvocation`.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .build();
        let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(PAUSE);
        // Credentials and region are in the environment, where Lambda puts them.
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(timeouts)
            .retry_config(retries)
            // A function with `default-https-client` leaves this out; `build_http` is not in the
            // documentation of the SDK. The client with TLS reads the certificates of the system
            // when it is made, which is another reason to do so in init.
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        let config = aws_sdk_sqs::config::Builder::from(&config).interceptor(OfInvocation).build();
        Ok(Self { client: Client::from_conf(config), url })
    }

    /// Returns the id of the message, which SQS always gives.
    async fn send(&self, order: &str) -> Result<Option<String>, OrderError> {
        let request = self.client.send_message().queue_url(&self.url).message_body(order);
        Ok(request.send().await?.message_id)
    }
}

/// Why an order is not in the queue. The causes, which are logged and reported, have the details.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    /// It may be in the queue nevertheless.
    #[error("the queue did not answer in time")]
    TimedOut(#[source] Box<SdkError<SendMessageError>>),
    #[error("the queue did not take the order")]
    NotTaken(#[source] Box<SdkError<SendMessageError>>),
}

impl From<SdkError<SendMessageError>> for OrderError {
    fn from(error: SdkError<SendMessageError>) -> Self {
        match error {
            SdkError::TimeoutError(_) => Self::TimedOut(Box::new(error)),
            _ => Self::NotTaken(Box::new(error)),
        }
    }
}

impl ErrorType for OrderError {
    fn error_type(&self) -> &str {
        match self {
            Self::TimedOut(_) => "Function.QueueTimedOut",
            Self::NotTaken(_) => "Function.OrderNotTaken",
        }
    }
}
