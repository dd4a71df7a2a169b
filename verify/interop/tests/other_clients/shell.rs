//! A bootstrap in shell with curl, as in AWS's tutorial, as the client of the lab's Runtime API.

use lambda_lab::{Function, Lab};
use serde_json::json;

use crate::{Folder, fails, files, lab};

fn shell(handler: &str) -> (Lab, Folder) {
    let folder = Folder::new();
    let function = Function::new("/bin/bash").argument(files().join("bootstrap.sh"));
    let function = function.variable("LAMBDA_TASK_ROOT", files()).variable("TMPDIR", &folder.0);
    (lab(function.handler(handler)), folder)
}

#[test]
fn a_bootstrap_in_shell_answers_one_event_after_the_other() {
    let (lab, _folder) = shell("function.greet");
    for name in ["Ada", "Zoë", &"x".repeat(3_000)] {
        let answer = lab.invoke(name).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.body), format!("Hello, {name}!"));
        assert_eq!(answer.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    }
}

#[test]
fn an_error_from_a_bootstrap_in_shell_reaches_the_caller() {
    let (lab, _folder) = shell("function.fail");
    for _ in 0..2 {
        let failure = fails(&lab, &json!({}));
        assert_eq!(failure.to_string(), "Function.Failed: the handler has failed");
    }
}
