# What people, `.ci/run` and the workflows run. `just` alone lists it; `.ci/setup` installs what it needs.

tools := justfile_directory() / "target/tools"
export PATH := tools / "bin" + ":" + tools / "cargo/bin" + ":" + env("PATH")

# Other workspaces share what they can with this one; some of their Cargo commands run in their folders.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")

published := "lambda-proto lambda-proto-extension lambda-proto-host lambda-proto-std lambda-proto-tokio lambda-proto-mio"
workspaces := "Cargo.toml capi/library/Cargo.toml docs/moving/theirs/Cargo.toml examples/aws-sdk/Cargo.toml \
    examples/nolibc/Cargo.toml runtimes/luajit/Cargo.toml runtimes/quickjs/Cargo.toml verify/panic-free/Cargo.toml \
    verify/lambda-http/Cargo.toml benches/Cargo.toml fuzz/Cargo.toml"

[private]
default:
    @{{ just_executable() }} --list --unsorted

# Formatting, spelling, lints, documentation
lint: format spelling words links clippy doc

# The tests that need nothing but Rust, and the command of the README
test: tests alone hello

# The long proofs, whole: the model, ten million invocations, every cut, fuzzing; then what is published
proof: (soak "10000000") cuts bare-metal panic-free sizes counts lambda-http capi miri luajit-tests quickjs-tests runtime-builds emulator loops lifecycle aws-sdk moving aws-clients (fuzz "600") dist

# What an invocation costs, beside the floor and other clients: benches/RESULTS.md and its graphs
bench *arguments:
    cargo run --release --locked --manifest-path benches/Cargo.toml -- {{ arguments }}

# Functions on lambda_runtime and here: what docs/moving-from-lambda-runtime.md says, and its table
moving:
    cargo clippy --quiet --locked --manifest-path docs/moving/theirs/Cargo.toml --all-features -- -D warnings
    cargo build --quiet --locked --manifest-path docs/moving/theirs/Cargo.toml --all-features
    MOVING_THEIRS="$CARGO_TARGET_DIR/debug" cargo test --quiet --locked -p lambda-moving
    cargo run --quiet --locked --release -p lambda-moving --features table --example moving_table

# A function in Lua under the lab: runtimes/luajit
luajit event='{"name":"Ada"}':
    cd runtimes/luajit && cargo build --quiet --locked --release
    cargo run --quiet --locked --release -p lambda-lab -- run --event {{ quote(event) }} \
        --task-root runtimes/luajit/examples --handler hello.handle "$CARGO_TARGET_DIR/release/lambda-luajit"

# lambda-luajit beside other ways to run Lua, and Rust: runtimes/luajit/RESULTS.md (curl, luajit, lua-cjson, lua-socket)
luajit-bench *arguments:
    cd runtimes/luajit && cargo build --quiet --locked --release
    cd runtimes/luajit && cargo build --quiet --locked --release -p lambda-luajit-bench
    "$CARGO_TARGET_DIR/release/lambda-luajit-bench" {{ arguments }}

# Both language runtimes, built for glibc 2.34 and statically, as their READMEs say (pip): sizes, and an answer of each
runtime-builds:
    .ci/runtimes

# A function in JavaScript under the lab: runtimes/quickjs
quickjs event='{"name":"Ada"}':
    cargo build --quiet --locked --release --manifest-path runtimes/quickjs/Cargo.toml
    cargo run --quiet --locked --release -p lambda-lab -- run --event {{ quote(event) }} \
        --task-root runtimes/quickjs/examples --handler hello.handler "$CARGO_TARGET_DIR/release/lambda-quickjs"

# lambda-quickjs beside Node.js and AWS's client: runtimes/quickjs/RESULTS.md (pip, CMake, autoconf, automake, libtool)
quickjs-bench *arguments:
    cargo build --quiet --locked --release --manifest-path runtimes/quickjs/Cargo.toml
    cargo build --quiet --locked --release --manifest-path runtimes/quickjs/Cargo.toml -p lambda-quickjs-bench
    "$CARGO_TARGET_DIR/release/lambda-quickjs-bench" {{ arguments }}

# Every fuzz target, or those that are named, for this many seconds each
fuzz seconds="20" *targets:
    fuzz/run {{ seconds }} {{ targets }}

# What is published: packages, the README, other targets, licences, sources, features, compatibility
dist: packages readme targets deny hack semver

# Tests of processes and of time, 20 times each under load; see .ci/flaky
flaky *arguments:
    .ci/flaky {{ arguments }}

# The C interface: symbols, sizes and costs of its libraries, its tests in C, and its users; see capi/README.md
capi:
    capi/check
    cargo test --quiet --locked --workspace --test capi --test aws_clients

# AWS's clients for Python and Node.js on this project, with ten times as many invocations as `capi`
[private]
aws-clients:
    AWS_CLIENTS_INVOCATIONS=20000 cargo test --quiet --locked --workspace --test aws_clients

# Installs the C libraries: include, lib, share
install-capi prefix:
    capi/install {{ prefix }}

# ---- parts of `lint`

[private]
format:
    for manifest in $(git ls-files '*/Cargo.toml'); do cargo fmt --check --manifest-path "$manifest" || exit 1; done
    for script in .ci/* capi/check capi/install capi/aws-lambda-cpp/install capi/cost/run fuzz/run fuzz/lines fuzz/corpora; do \
        if head -n 1 "$script" | grep -q bash; then bash -n "$script" || exit 1; fi; done

[private]
spelling:
    typos

# Phrases that have a plainer form.
[private]
words:
    .ci/words

# Links within the repository, and the contents of DESIGN.md.
[private]
links:
    .ci/links

[private]
clippy:
    cargo clippy --quiet --locked --workspace --all-targets --all-features -- -D warnings
    cargo clippy --quiet --locked -p lambda-proto -p lambda-proto-extension -p lambda-proto-std -p lambda-proto-tokio \
        -p lambda-proto-mio -p lambda-lab --no-default-features -- -D warnings
    cargo clippy --quiet --locked --manifest-path fuzz/Cargo.toml -- -D warnings
    cargo clippy --quiet --locked --manifest-path capi/library/Cargo.toml -- -D warnings
    cargo clippy --quiet --locked --manifest-path verify/panic-free/Cargo.toml --all-features -- -D warnings
    cargo clippy --quiet --locked --manifest-path verify/lambda-http/Cargo.toml --all-targets -- -D warnings

[private]
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --all-features

# ---- parts of `test`

[private]
tests:
    cargo test --workspace --locked

# What the workspace adds features to, without them: core, extensions, host and transports, of which only the
# tests that the features concern; and the runtime without JSON. `tests` has run the others.
[private]
alone:
    cargo check --quiet --locked -p lambda-proto --all-targets
    cargo test --quiet --locked -p lambda-proto --lib
    cargo test --quiet --locked -p lambda-proto-extension
    cargo test --quiet --locked -p lambda-proto-host --lib
    cargo test --quiet --locked -p lambda-proto-std --test allocations
    cargo test --quiet --locked -p lambda-proto-tokio --test allocations --test lifecycle_signals
    cargo build --quiet --locked -p lambda-proto-std --no-default-features --example minimal
    for package in {{ published }}; do \
        tree=$(cargo tree --locked --package "$package" --edges normal,build,dev --all-features --prefix none) || exit; \
        if echo "$tree" | grep -E '^(lambda-lab|lambda_runtime|lambda_http|lambda-extension) '; then \
            echo "$package depends on the lab, or on the clients that it replaces" >&2; exit 1; fi; done

[private]
hello:
    cargo run --quiet --locked --release -p lambda-lab --example hello -- --help | grep -q 'hello EVENT'
    test "$(cargo run --quiet --locked --release -p lambda-lab --example hello -- '{"name":"Ada"}')" = '{"greeting":"Hello, Ada!"}'

# ---- parts of `proof`, of which `.ci/run` runs most, some of them smaller

# The machine against its model, and this many invocations under faults.
[private]
soak invocations="10000000":
    SOAK_INVOCATIONS={{ invocations }} cargo test --locked --release -p lambda-proto -p lambda-proto-extension \
        --features lambda-proto/alloc --test model --test soak -- --nocapture

# Every vector for clients, and some of those for services, cut at every position.
[private]
cuts:
    cargo test --locked --release -p lambda-conformance --test splits --test extension_splits -- --nocapture
    CUTS=all cargo test --locked --release -p lambda-interop --test lab_vectors -- cut

[private]
bare-metal:
    .ci/bare-metal

# No function of core and extensions can panic in a release.
[private]
panic-free:
    .ci/panic-free

[private]
sizes:
    .ci/sizes

# System calls and instructions of an invocation.
[private]
counts:
    cargo test --quiet --locked --release --manifest-path benches/Cargo.toml
    cargo run --quiet --locked --release --manifest-path benches/Cargo.toml -- check

# Pointers and memory in the tests of the C interface in Rust.
[private]
miri:
    if cargo +nightly miri --version >/dev/null 2>&1; then \
        cargo +nightly miri test --quiet --locked -p lambda-proto-capi --test client; \
    else echo "miri: skipped, because rustup has no nightly toolchain with the components miri and rust-src"; fi

# The feature `http` of the tokio transport and lambda_http, on the same events.
[private]
lambda-http:
    cargo test --quiet --locked --manifest-path verify/lambda-http/Cargo.toml

# The LuaJIT runtime. Its folder has the settings of the C compiler for LuaJIT.
[private]
luajit-tests:
    cd runtimes/luajit && cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    hadolint runtimes/luajit/Dockerfile
    cd runtimes/luajit && cargo test --quiet --locked

# The QuickJS runtime.
[private]
quickjs-tests:
    cargo clippy --quiet --locked --manifest-path runtimes/quickjs/Cargo.toml --workspace --all-targets -- -D warnings
    cargo test --quiet --locked --manifest-path runtimes/quickjs/Cargo.toml --workspace --no-default-features

# Under AWS's emulator and cargo-lambda, and other people's clients under the lab.
[private]
emulator:
    cargo test --locked --workspace --test emulator --test multi_concurrency --test cargo_lambda \
        --test side_by_side --test emulator_vectors --test other_clients --test durable_functions \
        --test browser
    cargo build --quiet --locked --workspace --bin lambda-interop
    test "$("$CARGO_TARGET_DIR/debug/lambda-interop" hello '{"name":"Ada"}')" = '{"greeting":"Hello, Ada!"}'

# Event loops under the lab: nothing lost or crossed, counts, memory.
[private]
loops:
    cargo test --locked --workspace --test own_loops --test nolibc
    # A million invocations take an optimized service.
    cargo test --locked --profile quick -p lambda-interop --test pool

# The lifecycle under the lab: stopped processes, signals, counts; batches before their deadline.
[private]
lifecycle:
    cargo test --locked --workspace --test lifecycle --test async_work --test extensions --test axum --test batches

# The AWS SDK on lambda-proto-tokio, with a queue that its tests play.
[private]
aws-sdk:
    cargo clippy --quiet --locked --manifest-path examples/aws-sdk/Cargo.toml --all-targets -- -D warnings
    cargo test --locked --manifest-path examples/aws-sdk/Cargo.toml

# ---- parts of `dist`

# The function of the README, built as a new user builds it.
[private]
readme:
    .ci/readme

[private]
packages:
    .ci/packages

# What is published, for Arm, macOS and Windows.
[private]
targets:
    .ci/targets

# Licences, sources and duplicates of dependencies; `deny.toml` has the rules.
[private]
deny: (tool "cargo-deny" "0.20.2")
    for manifest in {{ workspaces }}; do cargo deny --manifest-path "$manifest" check --hide-inclusion-graph licenses bans sources || exit 1; done

# Each feature alone, and all pairs of them.
[private]
hack: (tool "cargo-hack" "0.6.46")
    cargo hack check --locked --feature-powerset --depth 2 {{ prepend("-p ", published) }} -p lambda-lab

# Against the newest tag, if there is one.
[private]
semver: (tool "cargo-semver-checks" "0.51.0")
    if tag=$(git describe --tags --abbrev=0 2>/dev/null); then \
        cargo semver-checks --baseline-rev "$tag" {{ prepend("-p ", published) }} -p lambda-lab; \
    else echo "semver: no tag to compare with"; fi

# Compiled once, into target/tools.
[private]
tool name version:
    {{ name }} --version 2>/dev/null | grep -qF {{ version }} || \
        CARGO_TARGET_DIR={{ tools }}/build cargo install --quiet --locked --root {{ tools }}/cargo {{ name }}@{{ version }}
