//! The rehearsal before the vectors: whether the program is a client whose function returns its
//! event. Without it, each vector would wait in vain until its patience ends.

use serde_json::json;

use super::{End, Patience, Report, Step, Vector};

/// Plays two events to a program with `play`, and checks that it returns each of them.
///
/// The events are JSON, and may come back in another notation: a function that reads its event and
/// writes it again can still be tested.
///
/// # Errors
///
/// A text that says what the program did instead, or the error of `play`.
pub(super) fn rehearse(
    play: impl FnOnce(&Vector) -> Result<Report, String>,
    patience: Patience,
) -> Result<(), String> {
    let report = play(&rehearsal())?;
    let Some(deviation) = &report.deviation else { return Ok(()) };
    // The steps of each event: asks, the event, answers, the reply.
    let what = match deviation.step {
        1 => "the program does not ask for an event",
        3 => "the function does not return its event",
        5 => "the program does not ask for a second event",
        7 => "the function does not return its second event",
        _ => "the program does not wait for a third event",
    };
    let within = match report.end {
        End::Running if report.elapsed >= patience.long => {
            format!(" within {} s", patience.long.as_secs())
        }
        _ => String::new(),
    };
    let lines = shown(&report).into_iter().map(|line| format!("\n  {line}"));
    Err(format!(
        "{what}{within}, so no vector was played\n  {deviation}{}\n\
         the function to test a client with returns each event unchanged; see conformance/README.md",
        lines.collect::<String>()
    ))
}

/// The state of a process at the end of a vector, and the last lines that it wrote.
pub(super) fn shown(report: &Report) -> Vec<String> {
    const MOST: usize = 5;
    let last: Vec<_> = report.output.lines().rev().take(MOST).collect();
    let last = last.iter().rev().map(|line| format!("| {}", line.escape_debug()));
    [format!("the process {}", report.end)].into_iter().chain(last).collect()
}

/// Whether any of the steps is a response, which a program that does not return its event cannot
/// give.
pub(super) fn needs_an_echo(steps: &[Step]) -> bool {
    steps.iter().any(|step| match step {
        Step::Read(request) | Step::ReadHead(request) => request.call == super::Call::Response,
        Step::Either(ways) => ways.iter().any(|way| needs_an_echo(way)),
        _ => false,
    })
}

fn rehearsal() -> Vector {
    let event = |id: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n\
             Lambda-Runtime-Invoked-Function-Arn: \
             arn:aws:lambda:us-east-1:123456789012:function:conformance\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let accepted = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
                    Content-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
    let vector = json!({
        "name": "the function returns its event",
        "source": ["conformance/README.md"],
        "steps": [
            {"read": {"call": "next"}},
            {"write": event("rehearsal-1", r#"{"first":1}"#)},
            {"read": {"call": "response", "id": "rehearsal-1", "json": {"first": 1}}},
            {"write": accepted},
            {"read": {"call": "next"}},
            {"write": event("rehearsal-2", r#"{"second":"two"}"#)},
            {"read": {"call": "response", "id": "rehearsal-2", "json": {"second": "two"}}},
            {"write": accepted},
            {"read": {"call": "next"}},
        ],
    });
    serde_json::from_value(vector).expect("the steps are those of a vector")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vectors_with_a_response_need_an_echo() {
        let steps =
            |steps: serde_json::Value| -> Vec<Step> { serde_json::from_value(steps).unwrap() };
        for (json, is_needed) in [
            (json!([{"read": {"call": "next"}}, {"exits": "any"}]), false),
            (json!([{"read": {"call": "init/error"}}]), false),
            (json!([{"read": {"call": "response", "id": "1"}}]), true),
            (json!([{"read_head": {"call": "response", "id": "1"}}]), true),
            (json!([{"either": [[{"exits": "any"}], [{"read": {"call": "response"}}]]}]), true),
            (json!([{"either": [[{"exits": "any"}], [{"read": {"call": "error"}}]]}]), false),
        ] {
            assert_eq!(needs_an_echo(&steps(json.clone())), is_needed, "{json}");
        }
    }
}
