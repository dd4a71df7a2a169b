//! What an invocation, a start and a waiting client cost.

use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::running::Running;
use crate::service::Service;

/// How often everything is measured, in turn, and how long each measurement is.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) invocations: usize,
    pub(crate) starts: usize,
}

/// What was measured of a client, a value for each round.
#[derive(Default)]
pub(crate) struct Samples {
    /// Microseconds of processor time and of time for each invocation.
    pub(crate) cpu: Vec<f64>,
    pub(crate) time: Vec<f64>,
    /// The resident memory after the invocations, in KiB.
    pub(crate) memory: Vec<f64>,
    /// Microseconds from the start to the first `next`.
    pub(crate) start: Vec<f64>,
}

/// An event: an order with this number of items.
pub(crate) fn event(items: usize) -> String {
    let item = |number: usize| {
        let price = number as f64 * 3.25 + 0.99;
        format!(r#"{{"sku":"AB-{number:05}","quantity":{},"price":{price}}}"#, number % 7 + 1)
    };
    let items: Vec<_> = (1..=items).map(item).collect();
    let customer = r#"{"name":"Ada Lovelace","mail":"ada@example.com"}"#;
    format!(r#"{{"id":"2026-000017","customer":{customer},"items":[{}]}}"#, items.join(","))
}

/// The total of the invoice for it, as every client has to compute it.
fn total(event: &str) -> f64 {
    let order: Value = serde_json::from_str(event).unwrap_or_default();
    let items = order["items"].as_array().cloned().unwrap_or_default();
    let amount = |item: &Value| {
        item["quantity"].as_f64().unwrap_or_default() * item["price"].as_f64().unwrap_or_default()
    };
    items.iter().map(amount).sum()
}

/// Measures invocations with this event.
///
/// # Errors
///
/// What is wrong with the client, or with its response.
pub(crate) fn invocations(
    client: &Client,
    event: &str,
    effort: Effort,
    samples: &mut Samples,
) -> Result<(), String> {
    let service = Service::start(event).map_err(|error| error.to_string())?;
    let count = (effort.invocations / client.slowness).max(10);
    let running = Running::start(client, &service.address())?;
    let named = |error: String| format!("{}: {error}", client.name);
    service.wait().map_err(named)?;
    // Some engines compile what runs often.
    service.serve(count / 4).map_err(named)?;
    check(client, event, &service.response()).map_err(named)?;
    let before = running.cpu()?;
    let took = service.serve(count).map_err(named)?;
    let cpu = running.cpu()?.saturating_sub(before);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    samples.cpu.push(each(cpu));
    samples.time.push(each(took));
    samples.memory.push(running.memory()? as f64);
    Ok(())
}

fn check(client: &Client, event: &str, response: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(response).unwrap_or_default();
    let expected = total(event);
    let is_right = match client.works {
        true => value["total"].as_f64().is_some_and(|total| (total - expected).abs() < 1e-6),
        false => response == event.as_bytes(),
    };
    let text = String::from_utf8_lossy(response);
    if is_right { Ok(()) } else { Err(format!("a wrong response: {text}")) }
}

/// Measures one start: from the start of the process to its first `next`.
///
/// # Errors
///
/// What is wrong with the client.
pub(crate) fn start(client: &Client, samples: &mut Samples) -> Result<(), String> {
    let service = Service::start(&event(1)).map_err(|error| error.to_string())?;
    let running = Running::start(client, &service.address())?;
    let asked = service.wait().map_err(|error| format!("{}: {error}", client.name))?;
    samples.start.push(asked.saturating_duration_since(running.began).as_secs_f64() * 1e6);
    Ok(())
}
