//! Modules in the trees that LuaRocks lays out.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::function;

/// Compiles a C module that has the function `name`, which returns its own name.
fn compile(folder: &Path, module: &str, name: &str) {
    let code = format!(
        r#"
        typedef struct lua_State lua_State;
        typedef struct {{ const char *name; int (*function)(lua_State *); }} luaL_Reg;
        extern void luaL_register(lua_State *, const char *, const luaL_Reg *);
        extern void lua_pushstring(lua_State *, const char *);
        static int function(lua_State *L) {{ lua_pushstring(L, "{name}"); return 1; }}
        static const luaL_Reg functions[] = {{{{"{name}", function}}, {{0, 0}}}};
        int luaopen_{}(lua_State *L) {{ luaL_register(L, "{module}", functions); return 1; }}
        "#,
        module.replace('.', "_")
    );
    let path = folder.join(module.replace('.', "/"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_extension("c"), code).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([path.with_extension("so"), path.with_extension("c")])
        .status();
    assert!(compiled.unwrap().success());
}

/// Fills a tree as `luarocks --lua-version 5.1 --tree TREE install` does, with a module in Lua, one
/// with a folder, and one in C.
fn fill(tree: &Path) {
    let (lua, c) = (tree.join("share/lua/5.1"), tree.join("lib/lua/5.1"));
    fs::create_dir_all(lua.join("inspected/parts")).unwrap();
    fs::create_dir_all(&c).unwrap();
    fs::create_dir_all(tree.join("lib/luarocks/rocks-5.1/inspected/1.0-1")).unwrap();
    fs::write(lua.join("inspected/init.lua"), "return { part = require 'inspected.parts.one' }")
        .unwrap();
    fs::write(lua.join("inspected/parts/one.lua"), "return 'one'").unwrap();
    fs::write(lua.join("single.lua"), "return { c = require 'native.core' }").unwrap();
    compile(&c, "native.core", "twice");
}

const MAIN: &str = "local inspected, single = require 'inspected', require 'single' \
    function handle() return { inspected.part, single.c.twice(), require('flat').flat() } end";

#[test]
fn the_modules_of_a_luarocks_tree_are_found_in_the_task_root() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("lua_modules"));
    compile(root.path(), "flat", "flat");
    fs::write(root.path().join("main.lua"), MAIN).unwrap();
    let running = function("main.handle").root(root.path()).start();
    assert_eq!(running.text("{}"), r#"["one","twice","flat"]"#);
}

#[test]
fn a_tree_elsewhere_is_found_by_the_variables_that_luarocks_prints() {
    let (root, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(tree.path());
    compile(root.path(), "flat", "flat");
    fs::write(root.path().join("main.lua"), MAIN).unwrap();
    let at = tree.path().display();
    let running = function("main.handle")
        .root(root.path())
        .variable("LUA_PATH", &format!("{at}/share/lua/5.1/?.lua;{at}/share/lua/5.1/?/init.lua;;"))
        .variable("LUA_CPATH", &format!("{at}/lib/lua/5.1/?.so;;"))
        .start();
    assert_eq!(running.text("{}"), r#"["one","twice","flat"]"#);
}

#[test]
fn a_module_that_is_missing_is_an_error_that_lists_the_places() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("main.lua"), "require 'absent' function handle() end").unwrap();
    let running = function("main.handle").root(root.path()).start();
    running.fails("{}", "Function.Error", "module 'absent' not found");
    let body = running.failure("{}").error_message().unwrap();
    let tree = format!("{}/lua_modules/share/lua/5.1/absent.lua", root.path().display());
    assert!(body.contains(&tree), "{body}");
    assert!(body.contains("/opt/lib/lua/5.1/absent.so"), "{body}");
}
