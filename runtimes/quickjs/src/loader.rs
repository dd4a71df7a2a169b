//! Finds and reads ES modules, CommonJS modules and JSON, as Node does.

use std::cell::RefCell;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Exception, Function, Module, Object, Persistent, Result, Value};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Module,
    CommonJs,
    Json,
}

impl Format {
    /// The format of a file: `.mjs`, `.cjs` and `.json` say it, the nearest `package.json` says it
    /// for the others.
    pub(crate) fn of(ctx: &Ctx<'_>, path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("mjs") => Self::Module,
            Some("cjs") => Self::CommonJs,
            Some("json") => Self::Json,
            _ if is_in_module_package(ctx, path) => Self::Module,
            _ => Self::CommonJs,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::CommonJs => "commonjs",
            Self::Json => "json",
        }
    }
}

/// The functions of the prelude that a loader calls.
#[derive(Clone, Default)]
pub(crate) struct Internals(pub(crate) Rc<RefCell<Option<Persistent<Object<'static>>>>>);

impl Internals {
    fn call<'js, T: rquickjs::FromJs<'js>>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        argument: &str,
    ) -> Result<T> {
        let internals = self.0.borrow().clone().ok_or(rquickjs::Error::Unknown)?;
        let function: Function<'js> = internals.restore(ctx)?.get(name)?;
        function.call((argument,))
    }
}

impl Resolver for Internals {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        resolve(ctx, self, base, name, false)
    }
}

impl Loader for Internals {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let is_built_in = !name.starts_with('/');
        if !is_built_in && Format::of(ctx, Path::new(name)) == Format::Module {
            let source = read(ctx, Path::new(name))?;
            let module = Module::declare(ctx.clone(), name, source)?;
            let meta = module.meta()?;
            meta.set("url", format!("file://{name}"))?;
            meta.set("filename", name)?;
            meta.set("dirname", folder_of(Path::new(name)).to_string_lossy().as_ref())?;
            return Ok(module);
        }
        // A CommonJS module runs when the module that imports it is linked.
        let names: Vec<String> = self.call(ctx, "exportNames", name)?;
        let quoted = quote(name);
        let mut source = format!(
            "const m = globalThis[Symbol.for(\"lambda-quickjs.load\")]({quoted}); export default m;"
        );
        for (index, name) in names.iter().enumerate() {
            source += &format!(
                "\nconst v{index} = m[{0}]; export {{ v{index} as {name} }};",
                quote(name)
            );
        }
        Module::declare(ctx.clone(), name, source)
    }
}

/// A text as a literal of JavaScript.
fn quote(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                literal += &format!("\\u{:04x}", u32::from(character));
            }
            other => literal.push(other),
        }
    }
    literal + "\""
}

/// The functions for `require`.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn functions<'js>(
    ctx: &Ctx<'js>,
    native: &Object<'js>,
    internals: &Internals,
) -> Result<()> {
    let internals = internals.clone();
    let find = move |ctx: Ctx<'js>, base: String, name: String, is_require: bool| {
        resolve(&ctx, &internals, &base, &name, is_require)
    };
    native.set("resolve", Function::new(ctx.clone(), find)?)?;
    let format = |ctx: Ctx<'js>, path: String| Format::of(&ctx, Path::new(&path)).name();
    native.set("format", Function::new(ctx.clone(), format)?)?;
    let read_json = |ctx: Ctx<'js>, path: String| {
        let text = read(&ctx, Path::new(&path))?;
        ctx.json_parse(text)
    };
    native.set("readJson", Function::new(ctx.clone(), read_json)?)?;
    native.set("compile", Function::new(ctx.clone(), compile)?)
}

/// A CommonJS module as a function.
fn compile<'js>(ctx: Ctx<'js>, path: String) -> Result<Function<'js>> {
    let source = read(&ctx, Path::new(&path))?;
    // On the first line, so that the lines keep their numbers. A line for the shell is a comment.
    let comment = if source.starts_with("#!") { "//" } else { "" };
    let code = format!(
        "(function (exports, require, module, __filename, __dirname) {{ {comment}{source}\n}})"
    );
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(path);
    ctx.eval_with_options(code, options)
}

fn read(ctx: &Ctx<'_>, path: &Path) -> Result<String> {
    let text = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    text.map_err(|reason| {
        Exception::throw_message(
            ctx,
            &format!("Cannot read the module {}: {reason}", path.display()),
        )
    })
}

/// The path of a module, or the name of one that is built in.
fn resolve(
    ctx: &Ctx<'_>,
    internals: &Internals,
    base: &str,
    name: &str,
    is_require: bool,
) -> Result<String> {
    let base = Path::new(base);
    let found = match name.strip_prefix("file://") {
        Some(path) => as_file(ctx, Path::new(path), is_require),
        None if name.starts_with('/') => as_file(ctx, Path::new(name), is_require),
        None if matches!(name, "." | "..") || name.starts_with("./") || name.starts_with("../") => {
            as_file(ctx, &join(&folder_of(base), name), is_require)
        }
        None if internals.call(ctx, "isBuiltIn", name)? => return Ok(name.to_owned()),
        None => in_node_modules(ctx, &folder_of(base), name, is_require),
    };
    found.map(|path| path.to_string_lossy().into_owned()).ok_or_else(|| {
        let message = match name.strip_prefix("node:") {
            Some(_) => format!("No such built-in module: {name}"),
            None => format!("Cannot find module '{name}' imported from {}", base.display()),
        };
        let code = if is_require { "MODULE_NOT_FOUND" } else { "ERR_MODULE_NOT_FOUND" };
        match Exception::from_message(ctx.clone(), &message) {
            Ok(exception) => match exception.as_object().set("code", code) {
                Ok(()) => exception.throw(),
                Err(error) => error,
            },
            Err(error) => error,
        }
    })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

/// Joins paths without `.` and `..` in the result.
fn join(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for component in Path::new(name).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// A file, with an extension that may be left out for `require`, or the main file of a folder.
fn as_file(ctx: &Ctx<'_>, path: &Path, is_require: bool) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    if !is_require {
        return None;
    }
    let with = |path: &Path, extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    };
    let complete =
        |path: &Path| [".js", ".json", ".cjs"].iter().find_map(|extension| with(path, extension));
    complete(path).or_else(|| {
        let main: Option<String> = package(ctx, path).and_then(|package| package.get("main").ok());
        let main = main.and_then(|main| {
            let path = join(path, &main);
            Some(path.clone()).filter(|path| path.is_file()).or_else(|| complete(&path))
        });
        main.or_else(|| complete(&path.join("index")))
    })
}

/// A package in one of the folders `node_modules` above this folder.
fn in_node_modules(ctx: &Ctx<'_>, folder: &Path, name: &str, is_require: bool) -> Option<PathBuf> {
    let slashes = if name.starts_with('@') { 2 } else { 1 };
    let parts: Vec<_> = name.splitn(slashes + 1, '/').collect();
    let package_name = parts[..slashes.min(parts.len())].join("/");
    let rest = parts.get(slashes).copied();
    let mut roots: Vec<_> = folder.ancestors().map(|folder| folder.join("node_modules")).collect();
    // Layers.
    roots.push("/opt/nodejs/node_modules".into());
    roots.into_iter().map(|root| join(&root, &package_name)).find_map(|root| {
        let package = package(ctx, &root);
        let exports: Option<Value<'_>> = package.as_ref().and_then(|package| {
            package.get::<_, Value<'_>>("exports").ok().filter(|value| !value.is_undefined())
        });
        if let Some(exports) = exports {
            let key = rest.map_or_else(|| ".".to_owned(), |rest| format!("./{rest}"));
            let target = exported(&exports, &key, is_require)?;
            return Some(join(&root, &target)).filter(|path| path.is_file());
        }
        match rest {
            Some(rest) => as_file(ctx, &join(&root, rest), is_require),
            // The main file of a package without `exports` is looked up in the same way for both.
            None => as_file(ctx, &root, true),
        }
    })
}

/// The target of a key of `exports`.
fn exported(exports: &Value<'_>, key: &str, is_require: bool) -> Option<String> {
    let Some(object) = exports.as_object().filter(|_| !exports.is_array()) else {
        return (key == ".").then(|| condition(exports, is_require)).flatten();
    };
    let has_keys = object.keys::<String>().flatten().next()?.starts_with('.');
    if !has_keys {
        return (key == ".").then(|| condition(exports, is_require)).flatten();
    }
    let exact: Value<'_> = object.get(key).ok()?;
    if !exact.is_undefined() {
        return condition(&exact, is_require);
    }
    // The longest pattern with one star.
    let mut best: Option<(String, String)> = None;
    for pattern in object.keys::<String>().flatten() {
        let Some((before, after)) = pattern.split_once('*') else { continue };
        let star = key.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        if let Some(star) = star
            && best.as_ref().is_none_or(|(best, _)| best.len() < pattern.len())
        {
            best = Some((pattern.clone(), star.to_owned()));
        }
    }
    let (pattern, star) = best?;
    let target = condition(&object.get(pattern).ok()?, is_require)?;
    Some(target.replace('*', &star))
}

/// The first condition that applies.
fn condition(value: &Value<'_>, is_require: bool) -> Option<String> {
    if let Some(text) = value.as_string() {
        return text.to_string().ok();
    }
    if let Some(array) = value.as_array() {
        return array.iter::<Value<'_>>().flatten().find_map(|value| condition(&value, is_require));
    }
    let object = value.as_object()?;
    let applies = |name: &str| match name {
        "import" => !is_require,
        "require" => is_require,
        "node" | "default" => true,
        _ => false,
    };
    object
        .keys::<String>()
        .flatten()
        .filter(|name| applies(name))
        .find_map(|name| condition(&object.get(name).ok()?, is_require))
}

/// The `package.json` of a folder.
fn package<'js>(ctx: &Ctx<'js>, folder: &Path) -> Option<Object<'js>> {
    let text = fs::read(folder.join("package.json")).ok()?;
    match ctx.json_parse(text) {
        Ok(value) => value.into_object(),
        Err(_) => {
            // It is no package, then.
            let _syntax_error = ctx.catch();
            None
        }
    }
}

/// Whether the nearest `package.json` says that its files are ES modules.
fn is_in_module_package(ctx: &Ctx<'_>, path: &Path) -> bool {
    let nearest = path.ancestors().skip(1).find_map(|folder| package(ctx, folder));
    nearest
        .is_some_and(|package| package.get::<_, String>("type").is_ok_and(|kind| kind == "module"))
}
