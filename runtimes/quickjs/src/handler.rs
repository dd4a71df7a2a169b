//! The function's module and the handler in it.

use std::path::{Component, Path, PathBuf};

use lambda_proto_std::{ErrorType, Failure};
use rquickjs::{Module, Promise, Value};

use crate::engine::Engine;
use crate::loader::Format;
use crate::settings::Settings;

/// Why the function could not be loaded. Each is an error of the start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(
        "the handler {0:?} is not of the form module.function, as in index.handler or \
         dir/index.handler, with a module below LAMBDA_TASK_ROOT"
    )]
    Malformed(String),
    #[error("there is no module {}: neither .mjs nor .js nor .cjs exists", .0.display())]
    NoModule(PathBuf),
    #[error("{0} is undefined or not exported")]
    NotFound(String),
    #[error("{name} is a {kind}, and must be a function")]
    NotAFunction { name: String, kind: String },
    #[error(
        "{0} has three parameters: handlers with a callback are not supported, so return a \
         promise or make the handler async"
    )]
    Callback(String),
    #[error(
        "the module {} awaits a promise at its top level that can never settle: no timer is left",
        .0.display()
    )]
    NeverSettles(PathBuf),
}

impl ErrorType for LoadError {
    fn error_type(&self) -> &str {
        match self {
            Self::Malformed(_) => "Runtime.MalformedHandlerName",
            Self::NoModule(_) => IMPORT,
            Self::NotFound(_) | Self::NotAFunction { .. } => "Runtime.HandlerNotFound",
            Self::Callback(_) => "Runtime.CallbackHandlerDeprecated",
            Self::NeverSettles(_) => "Runtime.NeverSettles",
        }
    }
}

/// Loads the module that the handler names, and tells the prelude the handler.
///
/// # Errors
///
/// A failure with a type for each reason; that of the module's own error if it throws one.
pub(crate) fn load(engine: &Engine<'_>, settings: &Settings) -> Result<(), Failure> {
    let name = &settings.handler;
    let (module, path) = split(name).ok_or_else(|| LoadError::Malformed(name.clone()))?;
    let root = settings.task_root.canonicalize().unwrap_or_else(|_| settings.task_root.clone());
    let module = root.join(module);
    let file = ["mjs", "js", "cjs"].iter().find_map(|extension| {
        let mut file = module.as_os_str().to_owned();
        file.push(".");
        file.push(extension);
        Some(PathBuf::from(file)).filter(|file| file.is_file())
    });
    let file = file.ok_or(LoadError::NoModule(module))?;
    let exports = import(engine, &file)?;
    let path: Vec<_> = path.split('.').map(str::to_owned).collect();
    let found: String =
        engine.call("setHandler", (exports, path)).map_err(|error| engine.failure(&error))?;
    match found.as_str() {
        "" => Ok(()),
        "undefined" => Err(LoadError::NotFound(name.clone()).into()),
        "callback" => Err(LoadError::Callback(name.clone()).into()),
        kind => Err(LoadError::NotAFunction { name: name.clone(), kind: kind.to_owned() }.into()),
    }
}

/// The module and the names within its exports: the first dot of the last part of the path
/// separates them, as in Node.
fn split(handler: &str) -> Option<(&str, &str)> {
    let start = handler.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + handler[start..].find('.')?;
    let (module, path) = (&handler[..dot], &handler[dot + 1..]);
    let is_named = dot > start && path.split('.').all(|name| !name.is_empty());
    (is_named && is_below(module)).then_some((module, path))
}

/// Whether a path stays below the folder that it is relative to.
fn is_below(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

/// The exports of the module.
fn import<'js>(engine: &Engine<'js>, file: &Path) -> Result<Value<'js>, Failure> {
    let path = file.to_string_lossy().into_owned();
    let owner = engine.host.invocation.borrow().clone();
    let ctx = &engine.ctx;
    let exports = if Format::of(ctx, file) == Format::Module {
        let turn = engine.turn(&owner, || {
            let promise = Module::import(ctx, path)?;
            // Its result is looked at below.
            let () = engine.call("ignore", (promise.clone(),))?;
            Ok(promise)
        });
        unhandled(&turn.unhandled)?;
        let promise: Promise<'js> = turn.result.map_err(named)?;
        settle(engine, file, &promise).map_err(named)?
    } else {
        let turn = engine.turn(&owner, || engine.call::<Value<'js>>("load", (path,)));
        unhandled(&turn.unhandled)?;
        turn.result.map_err(named)?
    };
    Ok(exports)
}

/// A rejection that nobody handles is an error of the start.
fn unhandled(unhandled: &[crate::engine::Unhandled]) -> Result<(), Failure> {
    unhandled.first().map_or(Ok(()), |unhandled| Err(unhandled.failure.clone()))
}

/// Runs timers until the promise has settled.
fn settle<'js>(
    engine: &Engine<'js>,
    file: &Path,
    promise: &Promise<'js>,
) -> Result<Value<'js>, Failure> {
    loop {
        if let Some(result) = engine.settled(promise) {
            return result;
        }
        let turn = engine.wait_for_timer();
        let turn = turn.ok_or_else(|| LoadError::NeverSettles(file.to_path_buf()))?;
        unhandled(&turn.unhandled)?;
    }
}

/// Gives the errors of modules that cannot be found or parsed the types that Node's runtime gives
/// them.
fn named(failure: Failure) -> Failure {
    match failure.reported_type() {
        "SyntaxError" => failure.error_type("Runtime.UserCodeSyntaxError"),
        "Error" if NOT_IMPORTED.iter().any(|it| failure.message().starts_with(it)) => {
            failure.error_type(IMPORT)
        }
        _ => failure,
    }
}

/// What the loader says of a module that does not exist, and of one that it cannot read.
const NOT_IMPORTED: [&str; 3] =
    ["Cannot find module '", "No such built-in module: ", "Cannot read the module "];

/// The error type of such a module.
const IMPORT: &str = "Runtime.ImportModuleError";

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_first_dot_of_the_last_part_separates_module_and_function() {
        assert_eq!(split("index.handler"), Some(("index", "handler")));
        assert_eq!(split("a.b/index.api.handler"), Some(("a.b/index", "api.handler")));
        for handler in
            ["", "index", ".handler", "index.", "../index.handler", "/index.handler", "a/.b"]
        {
            assert_eq!(split(handler), None, "{handler}");
        }
    }
}
