//! The region of the function: one for its variables and its ARN.

use std::ffi::{OsStr, OsString};

/// The variables that name the region. The first one that is set and not empty counts.
pub(crate) const VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Source: emulator, `rie/handlers.go`.
const DEFAULT: &str = "us-east-1";

/// The region in the function's own variables, or else in those that it inherits, or else
/// `us-east-1`.
///
/// # Errors
///
/// The name and the value of a variable that is not a region.
pub(crate) fn of(
    variables: &[(OsString, OsString)],
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Result<String, (&'static str, OsString)> {
    let own = |name: &str| {
        // The last one counts, as it does for the function.
        let (_, value) = variables.iter().rev().find(|(it, _)| it == OsStr::new(name))?;
        Some(value.clone())
    };
    let set = |value: Option<OsString>| value.filter(|value| !value.is_empty());
    let found = VARIABLES.iter().find_map(|name| Some((*name, set(own(name))?)));
    let found =
        found.or_else(|| VARIABLES.iter().find_map(|name| Some((*name, set(inherited(name))?))));
    let Some((name, value)) = found else { return Ok(DEFAULT.into()) };
    let is_region = |it: &str| it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match value.to_str().filter(|it| is_region(it)) {
        Some(region) => Ok(region.to_owned()),
        None => Err((name, value)),
    }
}

/// The partition that a region belongs to.
///
/// Source: AWS General Reference, "Amazon Resource Names (ARNs)"; the endpoint files of the SDKs.
pub(crate) fn partition(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let found = partitions.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(own: &[(&str, &str)], inherited: &[(&str, &str)]) -> Result<String, &'static str> {
        let own: Vec<_> = own.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let inherited = |name: &str| {
            inherited.iter().find(|(it, _)| *it == name).map(|(_, value)| OsString::from(value))
        };
        of(&own, inherited).map_err(|(name, _)| name)
    }

    #[test]
    fn the_region_is_that_of_the_first_variable_that_is_set() {
        let (name, default) = ("AWS_REGION", "AWS_DEFAULT_REGION");
        for (own, inherited, expected) in [
            (&[][..], &[][..], "us-east-1"),
            (&[(name, "eu-west-1")], &[], "eu-west-1"),
            (&[(default, "eu-west-1")], &[], "eu-west-1"),
            (&[], &[(name, "eu-west-1")], "eu-west-1"),
            (&[], &[(default, "eu-west-1")], "eu-west-1"),
            (&[(default, "a-1"), (name, "b-1")], &[(name, "c-1")], "b-1"),
            (&[(default, "a-1")], &[(name, "c-1")], "a-1"),
            (&[(name, "a-1"), (name, "b-1")], &[], "b-1"),
            (&[(name, "")], &[(name, ""), (default, "c-1")], "c-1"),
        ] {
            assert_eq!(region(own, inherited).as_deref(), Ok(expected), "{own:?} {inherited:?}");
        }
    }

    #[test]
    fn a_variable_that_is_not_a_region_is_named() {
        for value in ["us east", "a\u{1}", "a:b", "é"] {
            assert_eq!(region(&[("AWS_DEFAULT_REGION", value)], &[]), Err("AWS_DEFAULT_REGION"));
        }
    }

    #[test]
    fn a_region_belongs_to_its_partition() {
        for (region, expected) in [
            ("us-east-1", "aws"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition(region), expected, "{region}");
        }
    }
}
