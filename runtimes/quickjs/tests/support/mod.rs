//! The runtime as a process, under the lab.
#![allow(missing_docs, dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lambda_lab::{Answer, Event, Function, FunctionFailure, Lab, Output};
use tempfile::TempDir;

/// Longer than anything in these tests takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A function in JavaScript, and its log.
pub(crate) struct Running {
    pub(crate) lab: Lab,
    log: PathBuf,
    _folder: TempDir,
    _files: Option<TempDir>,
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
        is_frozen: false,
        files: None,
    }
}

/// The runtime with a module `index.mjs` of this source, whose handler is `handler`.
pub(crate) fn module(source: &str) -> Settings {
    files(&[("index.mjs", source)])
}

/// The runtime with these files, one of which has the handler `index.handler`.
pub(crate) fn files(files: &[(&str, &str)]) -> Settings {
    let folder = TempDir::new().unwrap();
    for (name, source) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }
    let root = folder.path().to_owned();
    Settings { root, files: Some(folder), ..function("index.handler") }
}

pub(crate) struct Settings {
    handler: String,
    root: PathBuf,
    variables: Vec<(String, String)>,
    timeout: Duration,
    memory: u32,
    concurrency: Option<usize>,
    is_snapstart: bool,
    is_frozen: bool,
    files: Option<TempDir>,
}

impl Settings {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn handler(mut self, handler: &str) -> Self {
        handler.clone_into(&mut self.handler);
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

    /// Stops the process between invocations, as Lambda does.
    pub(crate) fn frozen(mut self) -> Self {
        self.is_frozen = true;
        self
    }

    /// The log as JSON, for [`Running::records`].
    pub(crate) fn records(self) -> Self {
        self.variable("AWS_LAMBDA_LOG_FORMAT", "JSON").variable("AWS_LAMBDA_LOG_LEVEL", "TRACE")
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
            .argument(r#"exec "$QUICKJS_RUNTIME" >>"$QUICKJS_LOG" 2>&1"#)
            .clean_env()
            .variable("QUICKJS_RUNTIME", env!("CARGO_BIN_EXE_lambda-quickjs"))
            .variable("QUICKJS_LOG", &log)
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
        if self.is_frozen {
            function = function.freeze();
        }
        Running { lab: function.start().unwrap(), log, _folder: folder, _files: self.files }
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

    /// Invokes the function, and waits until it has asked for the next invocation. Returns the
    /// request id.
    #[track_caller]
    pub(crate) fn to_the_end(&self, event: impl Into<Event>) -> String {
        self.lab.invoke_to_the_end(event, |_| {}).unwrap().request_id
    }

    /// The records of the log.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let log = self.log();
        let records = log.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        records.collect()
    }

    /// The request ids of the records with this text in their message, or in that of their error.
    pub(crate) fn ids(&self, text: &str) -> Vec<String> {
        let has = |record: &serde_json::Value, name: &str| {
            record[name].as_str().is_some_and(|message| message.contains(text))
        };
        let records = self.records().into_iter();
        let records = records.filter(|it| has(it, "message") || has(it, "errorMessage"));
        records.map(|it| it["requestId"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The lines of the log that contain this text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// The most memory that the process has had, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let variable = format!("QUICKJS_LOG={}", self.log.display());
        let has_log = |environment: Vec<u8>| {
            environment.split(|&byte| byte == 0).any(|it| it == variable.as_bytes())
        };
        let processes = fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
        let mut own = processes.filter(|it| fs::read(it.join("environ")).is_ok_and(&has_log));
        let status = fs::read_to_string(own.next().unwrap().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// What the runtime has written until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}
