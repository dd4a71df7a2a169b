//! JSON: serde_json reads what `lambda-proto` and its transports write, and both read the documents
//! of the service alike.

mod documents;
mod read;
mod written;

use proptest::prelude::*;
use serde_json::Value;

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let member = ("[^e].{0,3}", inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            prop::collection::vec(member, 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}
