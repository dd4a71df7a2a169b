//! A script and its functions.

use std::path::{Path, PathBuf};

use lambda_proto_std::{Environment, ErrorType, Failure, Level, Log, Record};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Scope};

use crate::lambda::Lambda;

/// A compiled script.
pub(crate) struct Script {
    engine: Engine,
    ast: AST,
    handler: String,
}

/// Why a script could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the handler {0:?} is not of the form file.function, as in hello.handle")]
    Handler(String),
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("{} does not compile", .0.display())]
    Invalid(PathBuf, #[source] Box<EvalAltResult>),
    #[error("{} has no function {name}(event)", path.display())]
    NoFunction { path: PathBuf, name: String },
}

impl ErrorType for LoadError {
    fn error_type(&self) -> &str {
        match self {
            Self::Handler(_) => "Runtime.InvalidHandler",
            Self::Unreadable(..) => "Runtime.ScriptUnreadable",
            Self::Invalid(..) => "Runtime.ScriptInvalid",
            Self::NoFunction { .. } => "Runtime.HandlerNotFound",
        }
    }
}

impl Script {
    /// Compiles the script that the environment names.
    pub(crate) fn load(environment: &Environment, lambda: &Lambda) -> Result<Self, LoadError> {
        let handler = environment.handler().unwrap_or_default();
        let parts =
            handler.rsplit_once('.').filter(|(file, name)| !file.is_empty() && !name.is_empty());
        let (file, name) = parts.ok_or_else(|| LoadError::Handler(handler.to_owned()))?;
        let path = Path::new(environment.task_root().unwrap_or(".")).join(format!("{file}.rhai"));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| LoadError::Unreadable(path.clone(), error))?;
        let mut engine = Engine::new();
        lambda.register(&mut engine);
        let log = Log::from_env();
        engine.on_print(move |text| {
            log.write(&Record::new(Level::Info, format_args!("{text}")).logger("script"));
        });
        let ast = engine
            .compile(text)
            .map_err(|error| LoadError::Invalid(path.clone(), Box::new(error.into())))?;
        let script = Self { engine, ast, handler: name.to_owned() };
        if !script.has(name, 1) {
            return Err(LoadError::NoFunction { path, name: name.to_owned() });
        }
        Ok(script)
    }

    /// Runs the statements outside functions.
    pub(crate) fn run_statements(&self) -> Result<(), Failure> {
        self.engine.run_ast(&self.ast).map_err(failure)
    }

    /// Calls the handler.
    pub(crate) fn call_handler(&self, event: Dynamic) -> Result<Dynamic, Failure> {
        self.call(&self.handler, vec![event])
    }

    /// Calls a function if the script has it.
    pub(crate) fn call_if_there(&self, name: &str, arguments: Vec<Dynamic>) -> Result<(), Failure> {
        if !self.has(name, arguments.len()) {
            return Ok(());
        }
        self.call(name, arguments).map(drop)
    }

    fn has(&self, name: &str, parameters: usize) -> bool {
        let mut functions = self.ast.iter_functions();
        functions.any(|function| function.name == name && function.params.len() == parameters)
    }

    fn call(&self, name: &str, arguments: Vec<Dynamic>) -> Result<Dynamic, Failure> {
        let options = CallFnOptions::new().eval_ast(false);
        let scope = &mut Scope::new();
        self.engine
            .call_fn_with_options(options, scope, &self.ast, name, arguments)
            .map_err(failure)
    }
}

/// Converts a script's error to a failure; the calls that led to it become the stack trace.
#[expect(clippy::boxed_local, reason = "the engine returns it so")]
fn failure(mut error: Box<EvalAltResult>) -> Failure {
    let mut frames = String::new();
    while let EvalAltResult::ErrorInFunctionCall(name, _, inner, position) = *error {
        frames.insert_str(0, &format!("{name} at {position}\n"));
        error = inner;
    }
    frames.insert_str(0, &format!("{}\n", error.position()));
    let failure = match *error {
        EvalAltResult::ErrorRuntime(thrown, _) => failure_of(thrown),
        mut other => {
            let _without_its_position = other.take_position();
            Failure::new("Function.ScriptError", other.to_string())
        }
    };
    failure.stack_trace(frames)
}

/// Converts a thrown value to a failure. A map can have a type and a message; any other value is
/// the message.
fn failure_of(thrown: Dynamic) -> Failure {
    let field = |name: &str| {
        let map = thrown.as_map_ref().ok()?;
        map.get(name).map(ToString::to_string)
    };
    let message = field("message").unwrap_or_else(|| thrown.to_string());
    Failure::new(field("type").unwrap_or_else(|| "Function.ScriptError".to_owned()), message)
}
