//! The program `lambda-conformance`: plays vectors against a client, an extension or a service.

use std::io::Write as _;
use std::process::ExitCode;

use lambda_conformance::client::Tested;

fn main() -> ExitCode {
    let mut arguments = lexopt::Parser::from_env();
    let result = match arguments.next() {
        Ok(Some(lexopt::Arg::Value(what))) if what == "client" => {
            lambda_conformance::client::command(Tested::Runtime, arguments)
        }
        Ok(Some(lexopt::Arg::Value(what))) if what == "extension" => {
            lambda_conformance::client::command(Tested::Extension, arguments)
        }
        Ok(Some(lexopt::Arg::Value(what))) if what == "service" => {
            lambda_conformance::service::command(arguments)
        }
        Ok(Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h'))) => {
            print(&format!(
                "{}\n{}\n{}",
                lambda_conformance::client::USAGE,
                lambda_conformance::client::EXTENSION_USAGE,
                lambda_conformance::service::USAGE
            ));
            Ok(true)
        }
        Ok(Some(lexopt::Arg::Long("version") | lexopt::Arg::Short('V'))) => {
            print(concat!("lambda-conformance ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(true)
        }
        Ok(Some(other)) => {
            Err(format!("{}; use client, extension, service or --help", other.unexpected()))
        }
        Ok(None) => Err("no command given; use client, extension, service or --help".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let message = format!("lambda-conformance: {message}\n");
            let _nobody_may_read = std::io::stderr().write_all(message.as_bytes());
            ExitCode::from(2)
        }
    }
}

/// Prints text that nobody has to read to its end.
fn print(text: &str) {
    let _nobody_may_read = std::io::stdout().write_all(text.as_bytes());
}
