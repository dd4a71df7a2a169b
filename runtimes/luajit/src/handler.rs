//! The function's file and the function in it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use lambda_proto_std::{ErrorType, Failure};
use mlua::{Function, Value};

use crate::interpreter::Interpreter;
use crate::settings::Settings;

/// Why the function could not be loaded. Each is an error of the start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(
        "the handler {0:?} is not of the form file.function, as in handler.handle or dir/file.handle, \
         with a file below LAMBDA_TASK_ROOT"
    )]
    Invalid(String),
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{0}")]
    Syntax(String),
    #[error(
        "{file} has no function {name:?}: it returns no table with this function, and sets no \
         global of this name"
    )]
    NotFound { file: String, name: String },
    #[error("{name:?} of {file} is a {kind}, and must be a function")]
    NotAFunction { file: String, name: String, kind: &'static str },
}

impl ErrorType for LoadError {
    fn error_type(&self) -> &str {
        match self {
            Self::Invalid(_) => "Runtime.InvalidHandler",
            Self::Unreadable { .. } => "Runtime.HandlerFileUnreadable",
            Self::Syntax(_) => "Runtime.SyntaxError",
            Self::NotFound { .. } => "Runtime.HandlerNotFound",
            Self::NotAFunction { .. } => "Runtime.HandlerNotAFunction",
        }
    }
}

/// Loads the file that the handler names, runs it, and returns the function.
///
/// # Errors
///
/// A failure with a type for each reason; that of the file's own error if it raises one.
pub(crate) fn load(interpreter: &Interpreter, settings: &Settings) -> Result<Function, Failure> {
    let invalid = || LoadError::Invalid(settings.handler.clone());
    let (file, name) = settings.handler.rsplit_once('.').ok_or_else(invalid)?;
    if name.is_empty() || !is_below(file) {
        return Err(invalid().into());
    }
    let file = format!("{file}.lua");
    let chunk = compile(interpreter, &settings.task_root, &file)?;
    let (result, _) = interpreter.call(&chunk, ())?;
    let found = match &result {
        Value::Table(table) => table.get::<Value>(name).unwrap_or_default(),
        _ => Value::Nil,
    };
    let found = match found {
        Value::Nil => interpreter.lua.globals().raw_get(name).unwrap_or_default(),
        found => found,
    };
    let name = name.to_owned();
    match found {
        Value::Function(function) => Ok(function),
        Value::Nil => Err(LoadError::NotFound { file, name })?,
        other => Err(LoadError::NotAFunction { file, name, kind: other.type_name() })?,
    }
}

/// Loads the script that is run for each event: the file up to the first dot of the handler, whose
/// rest has no meaning.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_script(
    interpreter: &Interpreter,
    settings: &Settings,
) -> Result<(String, Function), Failure> {
    let file = settings.handler.split('.').next().unwrap_or_default();
    if !is_below(file) {
        return Err(LoadError::Invalid(settings.handler.clone()).into());
    }
    let file = format!("{file}.lua");
    let chunk = compile(interpreter, &settings.task_root, &file)?;
    Ok((file, chunk))
}

fn compile(interpreter: &Interpreter, root: &Path, file: &str) -> Result<Function, Failure> {
    let path = root.join(file);
    let code = fs::read(&path)
        .map_err(|error| LoadError::Unreadable { path, reason: error.to_string() })?;
    interpreter.compile(file, &code).map_err(|message| {
        // LuaJIT's message begins with the place.
        let place = message.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        Failure::from(LoadError::Syntax(message)).stack_trace(place)
    })
}

/// Whether a path stays below the folder that it is relative to.
fn is_below(path: &str) -> bool {
    !path.is_empty()
        && !path.ends_with('/')
        && Path::new(path)
            .components()
            .all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_path_that_leaves_its_folder_is_not_below_it() {
        for path in ["handler", "dir/file", "./handler", "a.b/c"] {
            assert!(is_below(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../handler", "dir/../../x", "dir/"] {
            assert!(!is_below(path), "{path}");
        }
    }
}
