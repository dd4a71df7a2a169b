//! Work that the caller does not wait for, and that no freeze interrupts.

use std::sync::Arc;
use std::time::Duration;

use lambda_extension::{Extension, NextEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
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
    let (orders, receiver) = mpsc::unbounded_channel::<Order>();
    let receiver = Arc::new(Mutex::new(receiver));
    // The environment is not frozen until the extension asks for its next event.
    let work = service_fn(move |event: lambda_extension::LambdaEvent| {
        let receiver = receiver.clone();
        async move {
            if let NextEvent::Invoke(_) = event.next
                && let Some(order) = receiver.lock().await.recv().await
            {
                send_mail(order.customer).await;
            }
            Ok::<_, Error>(())
        }
    });
    let extension = Extension::new()
        .with_extension_name("mail")
        .with_events(&["INVOKE"])
        .with_events_processor(work)
        .register()
        .await?;
    let orders = &orders;
    let handler = service_fn(move |event: LambdaEvent<Order>| async move {
        orders.send(event.payload)?;
        Ok::<_, Error>("accepted")
    });
    tokio::try_join!(run(handler), extension.run())?;
    Ok(())
}
