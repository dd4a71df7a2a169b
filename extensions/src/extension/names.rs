//! Every path and header name of the Extensions, Telemetry and Logs APIs, and nothing else.

pub(super) const REGISTER: &str = "/2020-01-01/extension/register";
pub(super) const NEXT: &str = "/2020-01-01/extension/event/next";
pub(super) const INIT_ERROR: &str = "/2020-01-01/extension/init/error";
pub(super) const EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";
pub(super) const TELEMETRY: &str = "/2022-07-01/telemetry";
pub(super) const LOGS: &str = "/2020-08-15/logs";

pub(super) const NAME: &str = "Lambda-Extension-Name";
pub(super) const ACCEPT_FEATURE: &str = "Lambda-Extension-Accept-Feature";
pub(super) const IDENTIFIER: &str = "Lambda-Extension-Identifier";
pub(super) const EVENT_IDENTIFIER: &str = "Lambda-Extension-Event-Identifier";
pub(super) const ERROR_TYPE: &str = "Lambda-Extension-Function-Error-Type";
pub(super) const CONTENT_TYPE: &str = "Content-Type";
