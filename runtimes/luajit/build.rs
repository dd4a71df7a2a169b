//! Refuses a build whose LuaJIT would not look at hooks in compiled loops.

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
}
