//! Refuses a build whose LuaJIT would not look at hooks in compiled loops, or could not pass errors
//! through compiled code, and lets the program export Lua's functions.

use std::env::var;

const DEFINE: &str = "-DLUAJIT_ENABLE_CHECKHOOK";
/// With Zig, also this one.
const WITH_ZIG: &str = "-DLUAJIT_NO_UNWIND";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CFLAGS");
    let flags = var("CFLAGS").unwrap_or_default();
    if !flags.contains(DEFINE) {
        println!(
            "cargo::error=CFLAGS lacks {DEFINE}, without which an endless loop would not end: run \
             Cargo in the folder runtimes/luajit, or add it to the CFLAGS that you set"
        );
    }
    // Zig links LLVM's libunwind, where `__register_frame` takes one entry of the table that LuaJIT
    // registers for compiled code. An error in such code (out of memory) would end the process.
    let compiler = format!("CC_{}", var("TARGET").unwrap_or_default().replace('-', "_"));
    println!("cargo::rerun-if-env-changed={compiler}");
    if var(compiler).is_ok_and(|it| it.contains("zigcc")) && !flags.contains(WITH_ZIG) {
        println!(
            "cargo::error=CFLAGS lacks {WITH_ZIG}, without which an error in compiled code would \
             end the process: build as the README says"
        );
    }
    // C modules take the functions of Lua from the program. A static one cannot load any.
    let features = var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo::rustc-link-arg-bins=-rdynamic");
    }
}
