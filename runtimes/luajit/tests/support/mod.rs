//! The runtime as a process, under the lab.
#![allow(missing_docs, dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lambda_lab::{Answer, Event, Function, FunctionFailure, Lab, Output};
use tempfile::TempDir;

/// Longer than anything in these tests takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A function in Lua, and its log.
pub(crate) struct Running {
    pub(crate) lab: Lab,
    log: PathBuf,
    _folder: TempDir,
}

/// The runtime with this handler of `tests/functions`.
pub(crate) fn function(handler: &str) -> Settings {
    Settings {
        handler: handler.to_owned(),
        root: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/functions").into(),
        variables: vec![],
        timeout: PATIENCE,
        memory: 512,
        concurrency: None,
        is_snapstart: false,
        before: String::new(),
    }
}

pub(crate) struct Settings {
    handler: String,
    root: PathBuf,
    variables: Vec<(String, String)>,
    timeout: Duration,
    memory: u32,
    concurrency: Option<usize>,
    is_snapstart: bool,
    before: String,
}

impl Settings {
    /// A command that runs the runtime, such as `strace -o FILE`.
    pub(crate) fn under(mut self, command: &str) -> Self {
        command.clone_into(&mut self.before);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn memory(mut self, megabytes: u32) -> Self {
        self.memory = megabytes;
        self
    }

    pub(crate) fn concurrency(mut self, slots: usize) -> Self {
        self.concurrency = Some(slots);
        self
    }

    pub(crate) fn snapstart(mut self) -> Self {
        self.is_snapstart = true;
        self
    }

    pub(crate) fn start(self) -> Running {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("log");
        let mut function = Function::new("/bin/sh")
            .argument("-c")
            .argument(r#"exec $LUAJIT_BEFORE "$LUAJIT_RUNTIME" >>"$LUAJIT_LOG" 2>&1"#)
            .clean_env()
            .variable("LUAJIT_RUNTIME", env!("CARGO_BIN_EXE_lambda-luajit"))
            .variable("LUAJIT_LOG", &log)
            .variable("LUAJIT_BEFORE", &self.before)
            .task_root(self.root)
            .handler(self.handler)
            .timeout(self.timeout)
            // A busy machine needs more than Lambda gives.
            .shutdown_timeout(Duration::from_secs(60))
            .memory(self.memory)
            .output(Output::Discarded);
        for (name, value) in self.variables {
            function = function.variable(name, value);
        }
        function = match self.concurrency {
            Some(slots) => function.concurrency(slots),
            None => function.init_timeout(PATIENCE),
        };
        if self.is_snapstart {
            function = function.snapstart();
        }
        Running { lab: function.start().unwrap(), log, _folder: folder }
    }
}

impl Running {
    #[track_caller]
    pub(crate) fn answer(&self, event: impl Into<Event>) -> Answer {
        self.lab.invoke(event).unwrap()
    }

    #[track_caller]
    pub(crate) fn text(&self, event: impl Into<Event>) -> String {
        self.answer(event).text()
    }

    #[track_caller]
    pub(crate) fn failure(&self, event: impl Into<Event>) -> FunctionFailure {
        let error = self.lab.invoke(event).unwrap_err();
        error.function().unwrap_or_else(|| panic!("{error}")).clone()
    }

    /// Expects a failure, and returns its stack trace.
    #[track_caller]
    pub(crate) fn fails(&self, event: impl Into<Event>, error_type: &str, message: &str) -> String {
        let failure = self.failure(event);
        assert_eq!(failure.error_type().as_deref(), Some(error_type), "{failure:?}");
        let text = failure.error_message().unwrap();
        assert!(text.contains(message), "{text}");
        let document: serde_json::Value = serde_json::from_slice(&failure.body).unwrap();
        let lines = document["stackTrace"].as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
    }

    /// The result of Lua code in the handler `values.eval`.
    #[track_caller]
    pub(crate) fn eval(&self, code: &str) -> String {
        self.text(serde_json::to_string(code).unwrap())
    }

    /// The failure of such code.
    #[track_caller]
    pub(crate) fn eval_fails(&self, code: &str, error_type: &str, message: &str) -> String {
        self.fails(serde_json::to_string(code).unwrap(), error_type, message)
    }

    pub(crate) fn log_path(&self) -> &std::path::Path {
        &self.log
    }

    /// What the runtime has written until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}
