//! Work that the caller does not wait for, and that no freeze interrupts.

use std::time::Duration;

use lambda_proto_tokio::{Error, Lifecycle, Runtime};
use serde::Deserialize;
use tokio::time::sleep;

#[derive(Deserialize)]
struct Order {
    customer: String,
}

async fn send_mail(customer: String) {
    sleep(Duration::from_millis(1)).await;
    eprintln!("the mail to {customer} is sent");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?.lifecycle(Lifecycle::new());
    let run = runtime.run(async |invocation, responder, context| {
        let order: Order = invocation.json()?;
        context.spawn_work(&invocation, "mail", send_mail(order.customer));
        responder.json("accepted").await
    });
    run.await
}
