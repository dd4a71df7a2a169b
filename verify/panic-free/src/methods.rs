//! The trait methods of `lambda-proto` and `lambda-proto-extension`: those of their own traits, and
//! those that their types implement for traits of Rust's `core`.

use core::fmt::{Debug, Display};
use core::ops::Deref;

use lambda_proto::client::Storage;
use lambda_proto::driver::{Connection, Connector};
use lambda_proto::{api, async_driver, client, driver, http, json, lifecycle, machine};
use lambda_proto_extension::{barrier, metadata, subscription};

use crate::opaque::{AsyncConnect, Connect, Failure, Hash, Memory, Service, Wire};

macro_rules! keep {
    ($($trait:path: $method:ident for $($type:ty),+;)*) => {
        $($(crate::keep(<$type as $trait>::$method as *const ());)+)*
    };
}

pub(crate) fn keep() {
    keep! {
        From<&'static api::ErrorReport<'static>>: from for
            api::ErrorReport;
        Clone: clone for
            barrier::Barrier,
            barrier::Passage,
            barrier::Reason,
            subscription::Buffering,
            subscription::Destination,
            subscription::InvalidSubscription,
            subscription::Listener,
            subscription::LogsSchema,
            subscription::Subscription,
            subscription::TelemetrySchema,
            subscription::TelemetryTypes,
            lambda_proto_extension::Refusal,
            lambda_proto_extension::RefusalKind,
            lambda_proto_extension::Registrant,
            lambda_proto_extension::Remedy,
            api::ContentType,
            api::InvalidContentType,
            api::InvalidSlots,
            api::Deadline,
            api::ClientApplication,
            api::ClientContext,
            api::CognitoIdentity,
            api::ServiceError,
            api::Endpoint,
            api::EndpointError,
            api::EndpointProblem,
            api::InvalidUserAgent,
            api::HeadIndex,
            api::InvocationHead,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Action,
            api::HttpPrelude,
            api::PreludeError,
            api::ErrorReport,
            api::Request,
            api::ResponseLength,
            driver::DriverError<Failure>,
            client::Invocation,
            driver::Response,
            lambda_proto_extension::EnvironmentEvent,
            lambda_proto_extension::Invoke,
            lambda_proto_extension::Registration,
            lambda_proto_extension::Shutdown,
            lambda_proto_extension::ShutdownCause,
            lambda_proto_extension::ShutdownReason,
            lambda_proto_extension::CommandError,
            lambda_proto_extension::ReceiveError,
            lambda_proto_extension::Call,
            lambda_proto_extension::Event,
            lambda_proto_extension::Extension,
            lambda_proto_extension::Phase,
            lambda_proto_extension::Recovery,
            lambda_proto_extension::Reply,
            lambda_proto_extension::ExternalEvents,
            lambda_proto_extension::InternalEvents,
            lambda_proto_extension::ManagedEvents,
            lambda_proto_extension::ExtensionName,
            lambda_proto_extension::InvalidExtensionName,
            http::BodyError,
            http::BodyLength,
            http::ResponseHead,
            http::HeadError,
            http::ReplyError,
            http::ReplyPart,
            http::ReplyReader,
            http::BufferTooSmall,
            json::JsonError,
            json::JsonStr,
            lifecycle::Clocks,
            lifecycle::IdleGap,
            lifecycle::TimeLimit,
            lifecycle::ShutdownWindow,
            machine::Event,
            machine::Machine,
            machine::CommandError,
            machine::ReceiveError,
            machine::Phase,
            machine::Recovery,
            metadata::ExecutionEnvironment,
            metadata::InvalidToken,
            metadata::MetadataEvent,
            metadata::MetadataMeaning,
            metadata::MetadataReader,
            metadata::MetadataReply,
            metadata::MetadataToken,
            client::End,
            client::Step,
            client::Receipt,
            client::StreamOver,
            client::Warning,
            client::WarningKind,
            client::Outage;
        Debug: fmt for
            barrier::Barrier,
            barrier::Passage,
            barrier::Reason,
            subscription::Buffering,
            subscription::Destination,
            subscription::InvalidSubscription,
            subscription::Listener,
            subscription::LogsSchema,
            subscription::Subscription,
            subscription::TelemetrySchema,
            subscription::TelemetryTypes,
            lambda_proto_extension::Refusal,
            lambda_proto_extension::RefusalKind,
            lambda_proto_extension::Registrant,
            lambda_proto_extension::Remedy,
            api::ContentType,
            api::InvalidContentType,
            api::InvalidSlots,
            api::Deadline,
            api::ClientApplication,
            api::ClientContext,
            api::CognitoIdentity,
            api::ServiceError,
            api::Endpoint,
            api::EndpointError,
            api::EndpointProblem,
            api::InvalidUserAgent,
            api::HeadIndex,
            api::InvocationHead,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Action,
            api::HttpPrelude,
            api::PreludeError,
            api::ErrorReport,
            api::Request,
            api::ResponseLength,
            driver::DriverError<Failure>,
            client::Invocation,
            driver::Response,
            driver::Sent,
            lambda_proto_extension::EnvironmentEvent,
            lambda_proto_extension::Invoke,
            lambda_proto_extension::Registration,
            lambda_proto_extension::Shutdown,
            lambda_proto_extension::ShutdownCause,
            lambda_proto_extension::ShutdownReason,
            lambda_proto_extension::CommandError,
            lambda_proto_extension::ReceiveError,
            lambda_proto_extension::Call,
            lambda_proto_extension::Event,
            lambda_proto_extension::Extension,
            lambda_proto_extension::Phase,
            lambda_proto_extension::Recovery,
            lambda_proto_extension::Reply,
            lambda_proto_extension::ExternalEvents,
            lambda_proto_extension::InternalEvents,
            lambda_proto_extension::ManagedEvents,
            lambda_proto_extension::ExtensionName,
            lambda_proto_extension::InvalidExtensionName,
            http::BodyError,
            http::BodyLength,
            http::ResponseHead,
            http::HeadError,
            http::ReplyError,
            http::ReplyPart,
            http::ReplyReader,
            http::BufferTooSmall,
            json::JsonError,
            json::JsonStr,
            lifecycle::Clocks,
            lifecycle::IdleGap,
            lifecycle::TimeLimit,
            lifecycle::ShutdownWindow,
            machine::Event,
            machine::Machine,
            machine::CommandError,
            machine::ReceiveError,
            machine::Phase,
            machine::Recovery,
            metadata::ExecutionEnvironment,
            metadata::InvalidToken,
            metadata::MetadataEvent,
            metadata::MetadataMeaning,
            metadata::MetadataReader,
            metadata::MetadataReply,
            metadata::MetadataToken,
            client::End,
            client::Step,
            client::Receipt,
            client::StreamOver,
            client::Warning,
            client::WarningKind,
            client::Outage,
            client::HeldEvent<Memory>;
        Default: default for
            subscription::Buffering,
            subscription::LogsSchema,
            subscription::TelemetrySchema,
            api::ClientApplication,
            api::ClientContext,
            api::CognitoIdentity,
            api::ServiceError,
            api::HeadIndex,
            api::InvocationIds,
            api::Concurrency,
            client::Outage,
            lambda_proto_extension::Registration,
            http::ReplyReader,
            json::JsonStr,
            metadata::ExecutionEnvironment,
            metadata::MetadataReader;
        Deref: deref for
            client::Invocation;
        Display: fmt for
            subscription::InvalidSubscription,
            lambda_proto_extension::Refusal,
            lambda_proto_extension::Remedy,
            api::InvalidContentType,
            api::InvalidSlots,
            api::EndpointError,
            api::InvalidUserAgent,
            api::Call,
            api::Outcome,
            api::PreludeError,
            driver::DriverError<Failure>,
            lambda_proto_extension::ShutdownReason,
            lambda_proto_extension::CommandError,
            lambda_proto_extension::ReceiveError,
            lambda_proto_extension::Call,
            lambda_proto_extension::Phase,
            lambda_proto_extension::Reply,
            lambda_proto_extension::InvalidExtensionName,
            http::BodyError,
            http::HeadError,
            http::ReplyError,
            http::BufferTooSmall,
            json::JsonError,
            json::JsonStr,
            machine::CommandError,
            machine::ReceiveError,
            machine::Phase,
            metadata::InvalidToken,
            client::End,
            client::StreamOver,
            client::Warning;
        From<http::HeadError>: from for
            http::ReplyError;
        From<http::BodyError>: from for
            http::ReplyError;
        From<http::ReplyError>: from for
            lambda_proto_extension::ReceiveError,
            machine::ReceiveError;
        From<http::BufferTooSmall>: from for
            lambda_proto_extension::CommandError,
            machine::CommandError;
        From<machine::CommandError>: from for
            driver::DriverError<Failure>;
        From<&'static [u8]>: from for
            driver::Response;
        Hash: hash for
            barrier::Reason,
            subscription::LogsSchema,
            subscription::TelemetrySchema,
            subscription::TelemetryTypes,
            lambda_proto_extension::Remedy,
            api::Deadline,
            api::Call,
            lambda_proto_extension::ShutdownCause,
            lambda_proto_extension::Call,
            lambda_proto_extension::Phase,
            lambda_proto_extension::ExternalEvents,
            lambda_proto_extension::InternalEvents,
            lambda_proto_extension::ManagedEvents,
            machine::Phase;
        Connector: connect for
            Connect;
        Connector: warn for
            Service;
        Connector: stepped for
            Service;
        Connector: is_stopping for
            Service;
        Connector: begin_wait for
            Service;
        Connector: end_wait for
            Service;
        Connection: write_parts for
            Wire;
        async_driver::Connector: connect for
            AsyncConnect;
        async_driver::Connector: warn for
            Service;
        async_driver::Connector: stepped for
            Service;
        async_driver::Connector: is_stopping for
            Service;
        async_driver::Connection: write_parts for
            Wire;
        Ord: cmp for
            api::Deadline;
        PartialEq: eq for
            barrier::Passage,
            barrier::Reason,
            subscription::Buffering,
            subscription::Destination,
            subscription::InvalidSubscription,
            subscription::Listener,
            subscription::LogsSchema,
            subscription::Subscription,
            subscription::TelemetrySchema,
            subscription::TelemetryTypes,
            lambda_proto_extension::Refusal,
            lambda_proto_extension::RefusalKind,
            lambda_proto_extension::Registrant,
            lambda_proto_extension::Remedy,
            api::ContentType,
            api::InvalidContentType,
            api::InvalidSlots,
            api::Deadline,
            api::ClientApplication,
            api::ClientContext,
            api::CognitoIdentity,
            api::ServiceError,
            api::Endpoint,
            api::EndpointError,
            api::EndpointProblem,
            api::InvalidUserAgent,
            api::HeadIndex,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Action,
            api::PreludeError,
            api::ResponseLength,
            driver::DriverError<Failure>,
            lambda_proto_extension::EnvironmentEvent,
            lambda_proto_extension::Invoke,
            lambda_proto_extension::Registration,
            lambda_proto_extension::Shutdown,
            lambda_proto_extension::ShutdownCause,
            lambda_proto_extension::ShutdownReason,
            lambda_proto_extension::CommandError,
            lambda_proto_extension::ReceiveError,
            lambda_proto_extension::Call,
            lambda_proto_extension::Event,
            lambda_proto_extension::Phase,
            lambda_proto_extension::Recovery,
            lambda_proto_extension::Reply,
            lambda_proto_extension::ExternalEvents,
            lambda_proto_extension::InternalEvents,
            lambda_proto_extension::ManagedEvents,
            lambda_proto_extension::ExtensionName,
            lambda_proto_extension::InvalidExtensionName,
            http::BodyError,
            http::BodyLength,
            http::ResponseHead,
            http::HeadError,
            http::ReplyError,
            http::ReplyPart,
            http::BufferTooSmall,
            json::JsonError,
            json::JsonStr,
            lifecycle::Clocks,
            lifecycle::IdleGap,
            lifecycle::TimeLimit,
            lifecycle::ShutdownWindow,
            machine::Event,
            machine::CommandError,
            machine::ReceiveError,
            machine::Phase,
            machine::Recovery,
            metadata::ExecutionEnvironment,
            metadata::InvalidToken,
            metadata::MetadataEvent,
            metadata::MetadataMeaning,
            metadata::MetadataReply,
            metadata::MetadataToken,
            client::End,
            client::Step,
            client::Receipt,
            client::StreamOver;
        PartialEq<str>: eq for
            json::JsonStr;
        PartialEq<&str>: eq for
            json::JsonStr;
        PartialOrd: partial_cmp for
            api::Deadline;
        Storage: bytes for
            Memory;
        Storage: bytes_mut for
            Memory;
        Storage: grow for
            Memory;
        Storage: release for
            Memory;
        TryFrom<&'static str>: try_from for
            api::ContentType;
        TryFrom<&'static [u8]>: try_from for
            api::ContentType;
    }
}
