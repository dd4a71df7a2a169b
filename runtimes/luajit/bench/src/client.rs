//! The programs that are compared.

use std::path::{Path, PathBuf};

/// A program that is the `bootstrap` of a function.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// The handler that is measured.
    pub(crate) handler: &'static str,
    /// The handlers for the failures: one that fails as its event says, and one for responses that
    /// need not be JSON. `None` for functions in Rust.
    pub(crate) faults: Option<(&'static str, &'static str)>,
    /// By which factor to measure fewer invocations.
    pub(crate) slowness: usize,
    /// Whether it does the work; otherwise it answers with its event.
    pub(crate) works: bool,
}

/// The folder of the functions in Lua.
pub(crate) fn functions() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/functions"))
}

impl Client {
    /// All clients. The programs in Rust lie beside this one.
    pub(crate) fn all(programs: &Path) -> Vec<Self> {
        let base = Self {
            name: "",
            about: "",
            program: PathBuf::new(),
            arguments: &[],
            variables: &[],
            handler: "work.handle",
            faults: None,
            slowness: 1,
            works: true,
        };
        vec![
            Self {
                name: OURS,
                about: "this runtime, a function of values",
                program: programs.join("lambda-luajit"),
                faults: Some(("faults.handle", "raw_faults.handle")),
                ..base.clone()
            },
            Self {
                name: "lambda-luajit, script",
                about: "this runtime, the script of the common guide's form",
                program: programs.join("lambda-luajit"),
                variables: &[("LAMBDA_LUAJIT_MODE", "script")],
                handler: "script.lua",
                faults: Some(("script_faults.lua", "script_faults.lua")),
                slowness: 20,
                ..base.clone()
            },
            Self {
                name: GUIDE,
                about: "`functions/shell.sh`: a shell, curl, and Debian's luajit for each event",
                program: functions().join("shell.sh"),
                handler: "script.lua",
                faults: Some(("script_faults.lua", "script_faults.lua")),
                slowness: 100,
                ..base.clone()
            },
            Self {
                name: "by hand",
                about: "`functions/by_hand.lua`: Debian's luajit, lua-socket and lua-cjson",
                program: "luajit".into(),
                arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/functions/by_hand.lua")],
                faults: Some(("faults.handle", "faults.handle")),
                ..base.clone()
            },
            Self {
                name: RUST,
                about: "`lambda-proto-std` and serde_json, with types",
                program: programs.join("rust_function"),
                ..base.clone()
            },
            Self {
                name: "Rust, values",
                about: "the same with `serde_json::Value`",
                program: programs.join("rust_function"),
                arguments: &["value"],
                ..base.clone()
            },
            Self {
                name: EMPTY,
                about: "`lambda-proto-std`, the event is the response",
                program: programs.join("empty_function"),
                works: false,
                ..base
            },
        ]
    }
}

/// The clients that targets name.
pub(crate) const OURS: &str = "lambda-luajit";
pub(crate) const GUIDE: &str = "guide's form";
pub(crate) const RUST: &str = "Rust";
pub(crate) const EMPTY: &str = "empty Rust";
