//! The header, the cdef, the functions and the constants of Rust say the same, and nothing changes
//! unnoticed.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::path::PathBuf;

use lambda_proto_capi as capi;

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the header declares: the part between its markers, without comments and empty lines.
fn declarations(header: &str) -> String {
    let (_, rest) = header.split_once("/* cdef: from here on").expect("the first marker");
    let (between, _) = rest.split_once("/* cdef: up to here. */").expect("the second marker");
    let mut text = String::new();
    let mut rest = between.split_once("*/").expect("the end of the marker").1;
    while let Some((before, comment)) = rest.split_once("/*") {
        text += before;
        rest = comment.split_once("*/").expect("the end of a comment").1;
    }
    text += rest;
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The statements of the cdef, with single spaces.
fn statements(cdef: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let (mut statement, mut depth) = (String::new(), 0);
    for character in cdef.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                let words: Vec<_> = statement.split_whitespace().collect();
                statements.push(words.join(" "));
                statement.clear();
                continue;
            }
            _ => {}
        }
        statement.push(character);
    }
    assert_eq!(statement.trim(), "", "the cdef ends within a statement");
    statements
}

/// The functions of layer one in the cdef: name, then the types of the result and the parameters.
fn functions_of_c(cdef: &str) -> BTreeMap<String, Vec<String>> {
    let mut functions = BTreeMap::new();
    for statement in statements(cdef) {
        let Some((before, parameters)) = statement.split_once('(') else { continue };
        let at = before.rfind("lambda_proto_").expect("a name");
        let name = before[at..].to_owned();
        if name.starts_with("lambda_proto_runtime_") {
            continue;
        }
        let parameters = parameters.strip_suffix(')').expect("the end of the parameters");
        let mut types = vec![c_type(&before[..at])];
        for parameter in parameters.split(", ").filter(|parameter| *parameter != "void") {
            // The name of the parameter is its last word.
            let at = parameter.rfind([' ', '*']).expect("a type") + 1;
            types.push(c_type(&parameter[..at]));
        }
        assert!(functions.insert(name, types).is_none(), "declared twice: {statement}");
    }
    functions
}

fn c_type(text: &str) -> String {
    text.replace('*', " * ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The exported functions in the sources.
fn functions_of_rust() -> BTreeMap<String, Vec<String>> {
    let mut functions = BTreeMap::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(folder).expect("the sources") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        let exported = text.split("#[unsafe(no_mangle)]\n").skip(1);
        for function in exported {
            let (signature, _) = function.split_once(" {\n").expect("a body");
            let (before, rest) = signature.split_once('(').expect("parameters");
            let name = before.rsplit(' ').next().expect("a name");
            assert!(before.contains("extern \"C\" fn "), "{name} has another convention");
            let (parameters, result) = rest.rsplit_once(") -> ").expect("a result");
            let mut types = vec![rust_type(result)];
            for parameter in parameters.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                types.push(rust_type(parameter.split_once(": ").expect("a type").1));
            }
            assert!(functions.insert(name.to_owned(), types).is_none(), "{name} stands twice");
        }
    }
    functions
}

/// The type of C that has the representation of a type of Rust.
fn rust_type(name: &str) -> String {
    if let Some(target) = name.strip_prefix("*mut ") {
        return format!("{} *", rust_type(target));
    }
    if let Some(target) = name.strip_prefix("*const ") {
        return match target.starts_with('*') {
            true => format!("{} const *", rust_type(target)),
            false => format!("const {} *", rust_type(target)),
        };
    }
    match name {
        "i32" => "int32_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "u8" => "uint8_t",
        "usize" => "size_t",
        "c_char" => "char",
        "c_void" => "void",
        "Client" => "lambda_proto_client",
        "Outage" => "lambda_proto_outage",
        other => panic!("{other} is not a type of the interface"),
    }
    .to_owned()
}

/// The constants in enumerations of the cdef.
fn constants_of_c(cdef: &str) -> BTreeMap<String, i32> {
    let mut constants = BTreeMap::new();
    for statement in statements(cdef) {
        let Some(list) = statement.strip_prefix("enum ") else { continue };
        let (_, list) = list.split_once('{').expect("a list");
        for constant in list.trim_end_matches('}').split(',') {
            let (name, value) = constant.split_once('=').expect("a value");
            let value = value.trim().parse().expect("a number");
            assert!(constants.insert(name.trim().to_owned(), value).is_none(), "{name} twice");
        }
    }
    constants
}

fn constants_of_rust() -> BTreeMap<String, i32> {
    let constant = |line: &str| {
        let (name, value) = line.strip_prefix("pub const ")?.split_once(": i32 = ")?;
        Some((name.to_owned(), value.trim_end_matches(';').replace('_', "").parse().ok()?))
    };
    read("src/constants.rs").lines().filter_map(constant).collect()
}

fn text(pointer: *const std::ffi::c_char) -> String {
    // SAFETY: these functions return static texts that end with NUL.
    unsafe { CStr::from_ptr(pointer) }.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_cdef_says_what_the_header_says() {
    let expected = declarations(&read("include/lambda_proto.h"));
    assert_eq!(read("include/lambda_proto.cdef"), expected, "run capi/cdef");
    assert!(!expected.contains('#'), "cffi refuses preprocessor lines");
}

#[test]
fn a_declaration_does_not_change_within_a_version_of_the_interface() {
    let version = capi::LAMBDA_PROTO_ABI_VERSION;
    assert_eq!(capi::lambda_proto_abi_version(), version);
    let recorded = read(&format!("abi/{version}.cdef"));
    let now = read("include/lambda_proto.cdef");
    let (recorded, now) = (statements(&recorded), statements(&now));
    for statement in &recorded {
        // An enumeration may get more constants, but those that it has stay.
        let is_kept = |now: &String| match statement.strip_suffix(" }") {
            Some(list) if statement.starts_with("enum ") => now.starts_with(list),
            _ => now == statement,
        };
        assert!(
            now.iter().any(is_kept),
            "this declaration has changed, so the version must, too: {statement}",
        );
    }
    for statement in &now {
        assert!(
            recorded.contains(statement),
            "this is new: record it with `cp capi/include/lambda_proto.cdef capi/abi/{version}.cdef`: \
             {statement}",
        );
    }
}

#[test]
fn the_soname_of_cargo_c_has_the_version_of_the_interface() {
    let manifest = read("library/Cargo.toml");
    let (_, library) =
        manifest.split_once("[package.metadata.capi.library]\n").expect("its section");
    let version = library.lines().find_map(|line| line.strip_prefix("version = "));
    assert_eq!(version, Some(&*format!("\"{}.0.0\"", capi::LAMBDA_PROTO_ABI_VERSION)));
}

#[test]
fn each_function_has_the_types_that_the_header_declares() {
    let c = functions_of_c(&read("include/lambda_proto.cdef"));
    let rust = functions_of_rust();
    let names = |functions: &BTreeMap<String, _>| functions.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&rust), names(&c));
    for (name, types) in &c {
        assert_eq!(rust[name], types[..], "{name}");
    }
    assert!(c.len() > 50);
}

#[test]
fn each_constant_has_the_value_that_the_header_declares() {
    let c = constants_of_c(&read("include/lambda_proto.cdef"));
    assert_eq!(constants_of_rust(), c);
    assert!(c.len() > 60);
}

#[test]
fn each_name_begins_with_the_prefix_of_the_library() {
    let cdef = read("include/lambda_proto.cdef");
    for statement in statements(&cdef) {
        let name = statement
            .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
            .any(|word| word.starts_with("lambda_proto_"));
        assert!(name, "{statement}");
    }
    assert!(constants_of_c(&cdef).keys().all(|name| name.starts_with("LAMBDA_PROTO_")));
    // No callbacks, no structures by value, no variable arguments.
    assert!(!cdef.contains("(*") && !cdef.contains("..."));
}

#[test]
fn each_error_has_its_name_and_a_text_of_its_own() {
    let constants = constants_of_c(&read("include/lambda_proto.cdef"));
    let errors = constants.iter().filter(|(name, value)| {
        name.starts_with("LAMBDA_PROTO_ERROR_") || (*name == "LAMBDA_PROTO_OK" && **value == 0)
    });
    let mut texts = Vec::new();
    for (name, &code) in errors {
        assert_eq!(text(capi::lambda_proto_error_name(code)), *name);
        texts.push(text(capi::lambda_proto_error_text(code)));
    }
    let count = texts.len();
    assert_eq!(count, 22);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count, "two errors share a text");
    for code in [1, -22, i32::MIN, i32::MAX] {
        assert_eq!(text(capi::lambda_proto_error_name(code)), "LAMBDA_PROTO_ERROR_UNKNOWN");
        assert!(!texts.contains(&text(capi::lambda_proto_error_text(code))));
    }
    assert_eq!(text(capi::lambda_proto_version()), env!("CARGO_PKG_VERSION"));
}
