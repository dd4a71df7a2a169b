//! Modules, the handler in one of them, and their errors at the start.
#![allow(missing_docs)]

mod support;

use support::{Settings, files, module};

#[track_caller]
fn fails(settings: Settings, error_type: &str, message: &str) -> String {
    settings.start().fails("{}", error_type, message)
}

#[test]
fn a_handler_is_an_export_of_an_es_module_or_of_a_commonjs_module() {
    let esm = "export const handler = async (event) => ({ got: event });";
    assert_eq!(module(esm).start().text("[1]"), r#"{"got":[1]}"#);
    let cjs = "exports.handler = async (event) => ({ got: event, top: this === exports });";
    let got = r#"{"got":[1],"top":true}"#;
    assert_eq!(files(&[("index.cjs", cjs)]).start().text("[1]"), got);
    // A file that ends with `.js` is CommonJS unless the nearest package says otherwise.
    assert_eq!(files(&[("index.js", cjs)]).start().text("[1]"), got);
    let package = ("package.json", r#"{"type":"module"}"#);
    assert_eq!(files(&[("index.js", esm), package]).start().text("[1]"), r#"{"got":[1]}"#);
    let nested = [
        ("package.json", r#"{"type":"module"}"#),
        ("lib/package.json", "{}"),
        ("lib/index.js", "module.exports = { api: { get: () => __filename.slice(-13) } }"),
    ];
    assert_eq!(files(&nested).handler("lib/index.api.get").start().text("1"), r#""/lib/index.js""#);
}

#[test]
fn the_extensions_are_looked_up_in_their_order() {
    let file = |name, answer| (name, answer);
    let js = file("index.js", "exports.handler = () => 'js'");
    let cjs = file("index.cjs", "exports.handler = () => 'cjs'");
    let mjs = file("index.mjs", "export const handler = () => 'mjs'");
    assert_eq!(files(&[cjs]).start().text("1"), r#""cjs""#);
    assert_eq!(files(&[cjs, js]).start().text("1"), r#""js""#);
    assert_eq!(files(&[cjs, js, mjs]).start().text("1"), r#""mjs""#);
}

#[test]
fn modules_import_each_other_whatever_they_are() {
    let sources = [
        ("index.mjs", "import lib, { add } from './lib.cjs'; import data from './data.json' with { type: 'json' };
            import pkg, { named } from 'pkg'; import { sub } from 'pkg/sub'; import { EventEmitter } from 'node:events';
            import * as self from './other.mjs';
            export const handler = async () => [lib.name, add(1, 2), data.x, pkg, named, sub, typeof EventEmitter,
              self.value, (await import('./other.mjs')).value, import.meta.url.slice(0, 8), import.meta.filename.slice(-9)];"),
        ("other.mjs", "const wait = (ms) => new Promise((done) => setTimeout(done, ms)); await wait(5); export const value = 'late';"),
        ("lib.cjs", "const { twice } = require('./folder'); exports.name = 'lib'; exports.add = (a, b) => twice(a + b);
            exports['not-a-name'] = 1;"),
        ("folder/index.js", "const cycle = require('../lib.cjs'); exports.twice = (x) => 2 * x + (cycle.name ? 1 : 0);"),
        ("data.json", r#"{"x":"from JSON"}"#),
        ("node_modules/pkg/package.json", r#"{"exports":{".":{"import":"./esm.mjs","require":"./cjs.cjs"},"./*":"./lib/*.mjs"}}"#),
        ("node_modules/pkg/esm.mjs", "export default 'pkg'; export const named = 'named';"),
        ("node_modules/pkg/cjs.cjs", "exports.kind = 'cjs'"),
        ("node_modules/pkg/lib/sub.mjs", "export const sub = 'sub';"),
        ("main.cjs", "const { kind } = require('pkg'); const main = require('main-only');
            exports.handler = () => [kind, main, require.resolve('pkg').slice(-7), require('./data').x];"),
        ("node_modules/main-only/package.json", r#"{"main":"start"}"#),
        ("node_modules/main-only/start.js", "module.exports = 'main'"),
    ];
    assert_eq!(
        files(&sources).start().text("1"),
        r#"["lib",7,"from JSON","pkg","named","sub","function","late","late","file:///","index.mjs"]"#
    );
    let running = files(&sources).handler("main.handler").start();
    assert_eq!(running.text("1"), r#"["cjs","main","cjs.cjs","from JSON"]"#);
}

#[test]
fn each_error_of_the_start_has_a_type_a_message_and_its_place() {
    let ok = "export const handler = () => 1; export const number = 7;";
    let malformed = "is not of the form module.function";
    for name in ["", "index", "../index.handler", "index."] {
        fails(module(ok).handler(name), "Runtime.MalformedHandlerName", malformed);
    }
    fails(module(ok).handler("other.handler"), "Runtime.ImportModuleError", "there is no module");
    fails(module(ok).handler("index.other"), "Runtime.HandlerNotFound", "index.other is undefined");
    fails(
        module(ok).handler("index.number"),
        "Runtime.HandlerNotFound",
        "index.number is a number",
    );
    let trace =
        fails(module("\nexport const handler = ( => 1;"), "Runtime.UserCodeSyntaxError", "");
    assert!(trace.contains("index.mjs:2"), "{trace}");
    fails(
        module("import 'nothing'; export const handler = 1;"),
        "Runtime.ImportModuleError",
        "Cannot find module 'nothing' imported from",
    );
    fails(
        files(&[("index.js", "require('./nothing')")]),
        "Runtime.ImportModuleError",
        "Cannot find module './nothing' imported from",
    );
    for import in ["import 'node:fs'", "const fs = await import('node:fs')"] {
        fails(
            module(&format!("{import}; export const handler = 1;")),
            "Runtime.ImportModuleError",
            "No such built-in module: node:fs",
        );
    }
    for callback in ["(event, context, callback) => {}", "function (a, b, c) {}"] {
        let source = format!("export const handler = {callback};");
        fails(module(&source), "Runtime.CallbackHandlerDeprecated", "three parameters");
    }
    let thrown = "class NoTable extends Error {}\nconst open = () => { throw new NoTable('no table'); };\nopen();\nexport const handler = 1;";
    let trace = fails(module(thrown), "NoTable", "no table");
    assert!(trace.starts_with("at open (") && trace.contains("index.mjs:2:"), "{trace}");
    let trace = fails(files(&[("index.cjs", "\n\nthrow new TypeError('x')")]), "TypeError", "x");
    assert!(trace.contains("index.cjs:3:"), "{trace}");
    fails(module("process.exit(3)"), "Function.Exit", "process.exit(3)");
    fails(
        module("Promise.reject(new RangeError('lost'));\nexport const handler = () => 1;"),
        "RangeError",
        "lost",
    );
}

#[test]
fn a_top_level_await_that_can_never_settle_is_an_error_at_once() {
    let source = "await new Promise(() => {}); export const handler = () => 1;";
    fails(module(source), "Runtime.NeverSettles", "index.mjs awaits a promise at its top level");
    let rejected = "await Promise.reject(new RangeError('no'));";
    fails(module(rejected), "RangeError", "no");
}

#[test]
fn an_invalid_setting_is_an_error_of_the_start() {
    let running = module("export const handler = () => 1");
    fails(
        running.variable("LAMBDA_QUICKJS_GRACE_MS", "soon"),
        "Runtime.InvalidConfiguration",
        "LAMBDA_QUICKJS_GRACE_MS is \"soon\"",
    );
    let running = module("export const handler = () => 1");
    fails(
        running.variable("LAMBDA_PROTO_WORK", "x"),
        "Runtime.InvalidConfiguration",
        "LAMBDA_PROTO_WORK",
    );
}

#[test]
fn a_file_may_begin_with_a_line_for_the_shell() {
    let shell = "#!/usr/bin/env node\nexports.handler = () => new Error().stack.match(/index.cjs:(\\d+)/)[1]";
    assert_eq!(files(&[("index.cjs", shell)]).start().text("1"), r#""2""#);
}
