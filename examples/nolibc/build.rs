//! How to link a program that no C library starts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/link.ld", env!("CARGO_MANIFEST_DIR"));
    for argument in [
        // It has its own `_start`, and nothing in it is to be found by others or moved.
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        // Nobody unwinds.
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
