use lambda_proto_extension::Registration;

/// The function that an extension is registered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its version, `$LATEST` or a number.
    pub version: String,
    /// Its handler; often empty in a container image.
    pub handler: String,
    /// The id of its account; empty if the service does not tell.
    pub account_id: String,
}

impl Function {
    pub(super) fn of(document: &[u8]) -> Self {
        // The extension is registered, whatever the document says.
        let registration = Registration::parse(document).unwrap_or_default();
        Self {
            name: registration.function_name.to_string(),
            version: registration.function_version.to_string(),
            handler: registration.handler.to_string(),
            account_id: registration.account_id.to_string(),
        }
    }
}
