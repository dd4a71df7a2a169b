//! What a client does with five things that go wrong with the common guide's form, under the lab.

use std::time::Duration;

use lambda_lab::{Function, InvokeError, Lab, Output};

use crate::client::{Client, functions};
use crate::running::VARIABLES;

/// The names of the cases, as the rows of the table.
pub(crate) const CASES: [&str; 5] = [
    "a success",
    "a handler that fails; the next event",
    "an event of 200 KB",
    "a file that does not compile",
    "a response that begins with `@`",
];

/// What became of each case.
pub(crate) fn of(client: &Client) -> Result<[String; 5], String> {
    let Some((by_event, raw)) = client.faults else {
        return Err(format!("{} has no function for the failures", client.name));
    };
    let lab = start(client, by_event, false)?;
    let success = answer(&lab, r#"{"text":"seven"}"#, r#"{"length":5}"#);
    let failing = match lab.invoke(r#"{"fail":true}"#) {
        Ok(answer) => format!("a response: {}", shown(&answer.text())),
        Err(error) => told(&error),
    };
    let next = answer(&lab, r#"{"text":"seven"}"#, r#"{"length":5}"#);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    let large = answer(&lab, &large, r#"{"length":200000}"#);
    lab.stop();
    let broken = by_event.replace("script_faults", "broken").replace("faults", "broken");
    let lab = start(client, &broken, false)?;
    let broken = match lab.invoke("{}") {
        Ok(answer) => format!("a response: {}", shown(&answer.text())),
        Err(error) => told(&error),
    };
    lab.stop();
    let lab = start(client, raw, true)?;
    let at = answer(&lab, r#"{"at":true}"#, "@/proc/sys/kernel/ostype");
    lab.stop();
    Ok([success, format!("{failing}; {next}"), large, broken, at])
}

fn start(client: &Client, handler: &str, is_raw: bool) -> Result<Lab, String> {
    let mut function = Function::new(&client.program).clean_env();
    for argument in client.arguments {
        function = function.argument(argument);
    }
    for (name, value) in VARIABLES.iter().filter(|(name, _)| *name == "PATH") {
        function = function.variable(name, value);
    }
    for (name, value) in client.variables {
        function = function.variable(name, value);
    }
    let has_mode = client.variables.iter().any(|(name, _)| *name == "LAMBDA_LUAJIT_MODE");
    if is_raw && !has_mode {
        function = function.variable("LAMBDA_LUAJIT_MODE", "raw");
    }
    let function = function.task_root(functions()).handler(handler).output(Output::Discarded);
    let function = function.memory(512).timeout(Duration::from_secs(20));
    function.start().map_err(|error| format!("{}: {error}", client.name))
}

fn answer(lab: &Lab, event: &str, expected: &str) -> String {
    match lab.invoke(event) {
        // Some write a text as JSON in any case.
        Ok(answer) if answer.text().trim_matches('"') == expected => "right".to_owned(),
        Ok(answer) if answer.body.is_empty() => "a response of 0 bytes".to_owned(),
        Ok(answer) => format!("a wrong response: {}", shown(&answer.text())),
        Err(error) => told(&error),
    }
}

/// What the caller learns of a failure.
fn told(error: &InvokeError) -> String {
    let Some(failure) = error.function() else { return shown(&error.to_string()) };
    match (failure.error_type(), failure.error_message()) {
        (Some(kind), Some(message)) => format!("error {}: {}", shown(&kind), shown(&message)),
        (Some(kind), None) => format!("error {}", shown(&kind)),
        (None, Some(message)) => {
            format!("an error without a type, with the message {:?}", shown(&message))
        }
        (None, None) => format!("not JSON: {}", shown(&String::from_utf8_lossy(&failure.body))),
    }
}

/// A text for a cell of a table.
fn shown(text: &str) -> String {
    // Request ids and paths differ from run to run.
    let text = text.replace(&functions().display().to_string(), "…");
    let words = text.split_whitespace().map(|word| match word {
        word if word.len() == 36 && word.matches('-').count() == 4 => "…",
        word => word,
    });
    let text = words.collect::<Vec<_>>().join(" ").replace('|', "\\|");
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
