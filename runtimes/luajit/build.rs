//! Refuses a build whose LuaJIT would not look at hooks in compiled loops, and lets the program
//! export Lua's functions.

const DEFINE: &str = "-DLUAJIT_ENABLE_CHECKHOOK";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CFLAGS");
    if !std::env::var("CFLAGS").unwrap_or_default().contains(DEFINE) {
        println!(
            "cargo::error=CFLAGS lacks {DEFINE}, without which an endless loop would not end: run \
             Cargo in the folder runtimes/luajit, or add it to the CFLAGS that you set"
        );
    }
    // C modules take the functions of Lua from the program. A static one cannot load any.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo::rustc-link-arg-bins=-rdynamic");
    }
}
