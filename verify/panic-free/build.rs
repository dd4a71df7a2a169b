//! Linker arguments for a program that is disassembled and never run.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        // It has its own `_start`, and needs a C library only for functions such as `memcpy`.
        "-nostartfiles",
        "-lc",
        // With this, calls name their functions directly instead of going through a table.
        "-no-pie",
        "-Wl,--gc-sections",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
