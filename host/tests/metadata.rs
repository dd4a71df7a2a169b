//! The metadata client that the environment configures.

use lambda_proto_host::MetadataError;
use lambda_proto_host::environment::Environment;

const TOKEN: &str = "64875270-0bf8";

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::from_lookup(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).into())
    })
}

#[test]
fn the_error_names_a_missing_or_invalid_variable() {
    const API: &str = "AWS_LAMBDA_METADATA_API";
    const SECRET: &str = "AWS_LAMBDA_METADATA_TOKEN";
    let fails = |variables| environment(variables).metadata().unwrap_err();
    for (variables, missing) in [
        (&[][..], API),
        (&[(SECRET, TOKEN)], API),
        (&[(API, ""), (SECRET, TOKEN)], API),
        (&[(API, "127.0.0.1:1")], SECRET),
    ] {
        let error = fails(variables);
        assert!(matches!(error, MetadataError::MissingVariable { name } if name == missing));
        assert!(error.to_string().ends_with(&format!("{missing} is not set")), "{error}");
    }
    let error = fails(&[(API, "https://x"), (SECRET, TOKEN)]);
    assert!(matches!(error, MetadataError::Address(_)) && error.to_string().contains(API));
    let error = fails(&[(API, "127.0.0.1:1"), (SECRET, "a\r\nb")]);
    assert!(matches!(error, MetadataError::Token(_)) && error.to_string().contains(SECRET));
}
