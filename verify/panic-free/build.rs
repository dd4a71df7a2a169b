//! How to link a program that is read and never run.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        // No C library starts it. One that copies bytes is all that it lacks.
        "-nostartfiles",
        "-lc",
        // Calls name their functions, not entries of tables.
        "-no-pie",
        "-Wl,--gc-sections",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
