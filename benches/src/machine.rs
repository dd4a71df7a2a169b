//! The machine and the versions of a measurement.

use std::fs;
use std::process::Command;

use crate::clients::Python;
use crate::error::Result;
use crate::options::Options;
use crate::programs::{Programs, benches};

/// Names and values for a table.
pub(crate) struct Machine(pub(crate) Vec<(&'static str, String)>);

impl Machine {
    pub(crate) fn look(options: &Options, programs: &mut Programs) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models = cpuinfo.lines().filter(|line| line.starts_with("model name"));
        let model = models.clone().next().and_then(|line| line.split(": ").nth(1));
        let read = |path| match fs::read_to_string(path) {
            Ok(text) => text.trim().to_owned(),
            Err(_) => "unknown".to_owned(),
        };
        let mut facts = vec![
            ("date", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("processor", model.unwrap_or("unknown").to_owned()),
            ("cores", models.count().to_string()),
            ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease"))),
            ("TCP congestion control", read("/proc/sys/net/ipv4/tcp_congestion_control")),
            ("rustc", said_by("rustc", &["--version"])),
            (
                "lambda-proto",
                said_by(
                    "git",
                    &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"],
                ),
            ),
        ];
        let lock = fs::read_to_string(benches().join("Cargo.lock")).unwrap_or_default();
        for name in ["lambda_runtime", "lambda_http", "axum", "tokio", "hyper"] {
            facts.push((name, version_in(&lock, name).unwrap_or("unknown").to_owned()));
        }
        let main_lock = fs::read_to_string(benches().join("../Cargo.lock")).unwrap_or_default();
        facts
            .push(("httparse", version_in(&main_lock, "httparse").unwrap_or("unknown").to_owned()));
        if let Some(python) = Python::find(options.python.as_deref()) {
            facts.push(("awslambdaric", python.version));
        }
        for (name, program) in [
            ("size of echo", programs.ours("lambda-proto-std", "echo")?),
            ("size of the floor", programs.floor()?),
        ] {
            let size = fs::metadata(program).map(|file| file.len()).unwrap_or_default();
            facts.push((name, format!("{size} bytes")));
        }
        Ok(Self(facts))
    }
}

/// The version of a package in a `Cargo.lock`.
fn version_in<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let start = lock.find(&format!("name = \"{name}\"\nversion = \""))?;
    lock[start..].split('"').nth(3)
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_by_the_whole_name() {
        let lock =
            "name = \"hyper-util\"\nversion = \"0.1\"\n\nname = \"hyper\"\nversion = \"1.9.0\"\n";
        assert_eq!(version_in(lock, "hyper"), Some("1.9.0"));
        assert_eq!(version_in(lock, "tokio"), None);
    }
}
