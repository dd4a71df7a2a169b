//! Linker arguments for a program without a C library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/link.ld", env!("CARGO_MANIFEST_DIR"));
    for argument in [
        // The program has its own `_start`. It exports no symbols and needs no relocation.
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        // A panic ends the process; nothing unwinds.
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
