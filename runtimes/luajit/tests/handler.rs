//! The function's file, its handler, and their errors at the start.
#![allow(missing_docs)]

mod support;

use support::function;

#[test]
fn a_handler_is_found_in_the_returned_table_and_among_the_globals() {
    assert_eq!(function("values.echo").start().text("[1]"), "[1]");
    let global = function("values.global_handler").start();
    assert_eq!(global.text("{}"), "1");
    // Globals stay from one invocation to the next.
    assert_eq!(global.text("{}"), "2");
    // `require` finds modules of the function.
    assert_eq!(function("dir/nested.handle").start().text("{}"), "3");
}

#[test]
fn each_error_of_the_start_has_a_type_a_message_and_its_place() {
    let fails = |handler: &str, error_type: &str, message: &str| {
        function(handler).start().fails("{}", error_type, message)
    };
    fails("", "Runtime.InvalidHandler", "the handler \"\" is not of the form file.function");
    fails("values", "Runtime.InvalidHandler", "\"values\"");
    fails("../functions/values.echo", "Runtime.InvalidHandler", "below LAMBDA_TASK_ROOT");
    fails(
        "missing.handle",
        "Runtime.HandlerFileUnreadable",
        "missing.lua cannot be read: No such file",
    );
    let place = fails("syntax.handle", "Runtime.SyntaxError", "syntax.lua:2: ");
    assert_eq!(place, "syntax.lua:2\n");
    fails("values.missing", "Runtime.HandlerNotFound", "values.lua has no function \"missing\"");
    fails("values.number", "Runtime.HandlerNotAFunction", "\"number\" of values.lua is a integer");
    let trace = fails("raises.handle", "Function.NoTable", "there is no table");
    assert!(
        trace.contains("raises.lua:1: in local 'fail'\nraises.lua:2: in main chunk"),
        "{trace}"
    );
    fails("exits.handle", "Function.Exit", "the function called os.exit(3)");
}

#[test]
fn an_invalid_setting_is_an_error_of_the_start() {
    let running = function("values.echo").variable("LAMBDA_LUAJIT_MODE", "fast").start();
    running.fails("{}", "Runtime.InvalidConfiguration", "LAMBDA_LUAJIT_MODE is \"fast\"");
}

#[test]
fn a_file_may_begin_with_a_line_for_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let code = "#!/usr/bin/luajit\nfunction handle() return debug.getinfo(1).currentline end";
    std::fs::write(folder.path().join("main.lua"), code).unwrap();
    assert_eq!(function("main.handle").root(folder.path()).start().text("{}"), "2");
}

#[test]
fn modules_are_found_in_the_places_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shared.lua"), "return { name = 'shared' }").unwrap();
    let path = format!("{}/?.lua;;", folder.path().display());
    let running = function("values.eval").variable("LUA_PATH", &path).start();
    assert_eq!(running.eval("return require('shared').name"), "\"shared\"");
    assert!(running.eval("return package.path").contains("/usr/local/share/lua/5.1/?.lua"));
    assert!(running.eval("return package.cpath").contains("/usr/local/lib/lua/5.1/?.so"));
}

#[test]
fn a_c_module_is_loaded_and_finds_the_functions_of_lua() {
    let folder = tempfile::tempdir().unwrap();
    let code = r#"
        typedef struct lua_State lua_State;
        typedef struct { const char *name; int (*function)(lua_State *); } luaL_Reg;
        extern double luaL_checknumber(lua_State *, int);
        extern int luaL_error(lua_State *, const char *, ...);
        extern int luaL_loadstring(lua_State *, const char *);
        extern void luaL_register(lua_State *, const char *, const luaL_Reg *);
        extern void lua_call(lua_State *, int, int);
        extern void lua_pushnumber(lua_State *, double);
        static int twice(lua_State *L) {
            double number = luaL_checknumber(L, 1);
            if (number < 0) return luaL_error(L, "%d is negative", (int)number);
            if (luaL_loadstring(L, "return ... * 2")) return luaL_error(L, "no chunk");
            lua_pushnumber(L, number);
            lua_call(L, 1, 1);
            return 1;
        }
        static const luaL_Reg functions[] = {{"twice", twice}, {0, 0}};
        int luaopen_native(lua_State *L) { luaL_register(L, "native", functions); return 1; }
    "#;
    std::fs::write(folder.path().join("native.c"), code).unwrap();
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "native.so", "native.c"])
        .current_dir(folder.path())
        .status();
    assert!(compiled.unwrap().success());
    let main = "local native = require 'native' \
        function handle(event) return native.twice(event) end";
    std::fs::write(folder.path().join("main.lua"), main).unwrap();
    let running = function("main.handle").root(folder.path()).start();
    assert_eq!(running.text("21"), "42");
    running.fails("-1", "Function.Error", "-1 is negative");
}
