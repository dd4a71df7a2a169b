//! The function of `functions/work.lua` in Rust. With the argument `value` it reads and writes
//! values without types, as Lua does.

use lambda_proto_std::{Error, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Order<'e> {
    id: &'e str,
    customer: Customer<'e>,
    items: Vec<Item<'e>>,
}

#[derive(Deserialize)]
struct Customer<'e> {
    name: &'e str,
}

#[derive(Deserialize)]
struct Item<'e> {
    sku: &'e str,
    quantity: u32,
    price: f64,
}

#[derive(Serialize)]
struct Invoice<'e> {
    id: &'e str,
    customer: &'e str,
    lines: Vec<Line<'e>>,
    total: f64,
}

#[derive(Serialize)]
struct Line<'e> {
    sku: &'e str,
    amount: f64,
}

fn main() -> Result<(), Error> {
    let is_untyped = std::env::args().nth(1).as_deref() == Some("value");
    let runtime = Runtime::from_env()?;
    if is_untyped {
        return runtime.run(|invocation, responder| {
            let order: Value = invocation.json()?;
            responder.json(invoice_of_value(&order))
        });
    }
    runtime.run(|invocation, responder| {
        let order: Order<'_> = invocation.json()?;
        responder.json(invoice(&order))
    })
}

fn invoice<'e>(order: &Order<'e>) -> Invoice<'e> {
    let mut total = 0.0;
    let lines = order.items.iter().map(|item| {
        let amount = f64::from(item.quantity) * item.price;
        total += amount;
        Line { sku: item.sku, amount }
    });
    let lines = lines.collect();
    Invoice { id: order.id, customer: order.customer.name, lines, total }
}

fn invoice_of_value(order: &Value) -> Value {
    let mut total = 0.0;
    let items = order["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = items.iter().map(|item| {
        let (quantity, price) = (item["quantity"].as_f64(), item["price"].as_f64());
        let amount = quantity.unwrap_or_default() * price.unwrap_or_default();
        total += amount;
        json!({ "sku": item["sku"], "amount": amount })
    });
    let lines: Value = lines.collect();
    json!({ "id": order["id"], "customer": order["customer"]["name"], "lines": lines, "total": total })
}
