//! The methods of traits, of `core`'s for types of `lambda-proto` and of its own.

use core::fmt::{Debug, Display};
use core::ops::Deref;

use lambda_proto::driver::{AsErrorReport, Host, Link};
use lambda_proto::slot::Storage;
use lambda_proto::{api, driver, extension, http, lifecycle, machine, metadata, slot};

use crate::opaque::{Connect, Failure, Hash, Memory, Service, Wire};

macro_rules! keep {
    ($($trait:path: $method:ident for $($type:ty),+;)*) => {
        $($(crate::keep(<$type as $trait>::$method as *const ());)+)*
    };
}

pub(crate) fn keep() {
    keep! {
        AsErrorReport: as_error_report for
            api::ErrorReport;
        Clone: clone for
            api::ContentType,
            api::InvalidContentType,
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
            api::InvalidInvocation,
            api::InvocationHead,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Then,
            api::HttpPrelude,
            api::PreludeError,
            api::ErrorReport,
            api::Request,
            api::ResponseLength,
            driver::DriverError<Failure>,
            slot::Invocation,
            driver::Response,
            extension::EnvironmentEvent,
            extension::Invoke,
            extension::Registration,
            extension::Shutdown,
            extension::ShutdownCause,
            extension::ShutdownReason,
            extension::CommandError,
            extension::ReceiveError,
            extension::Call,
            extension::Event,
            extension::Extension,
            extension::Phase,
            extension::Recovery,
            extension::Reply,
            extension::EventKind,
            extension::ExtensionName,
            extension::InvalidExtensionName,
            http::BodyDecoder,
            http::BodyError,
            http::BodyLength,
            http::ChunkPosition,
            http::ResponseHead,
            http::HeadError,
            http::HeadParser,
            http::ReplyError,
            http::BufferTooSmall,
            lambda_proto::JsonError,
            lambda_proto::JsonStr,
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
            slot::AfterEnd,
            slot::End,
            slot::Step,
            slot::Answer,
            slot::StreamOver,
            slot::Notice,
            slot::Trouble;
        Debug: fmt for
            api::ContentType,
            api::InvalidContentType,
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
            api::InvalidInvocation,
            api::InvocationHead,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Then,
            api::HttpPrelude,
            api::PreludeError,
            api::ErrorReport,
            api::Request,
            api::ResponseLength,
            driver::DriverError<Failure>,
            slot::Invocation,
            driver::Response,
            driver::Sent,
            extension::EnvironmentEvent,
            extension::Invoke,
            extension::Registration,
            extension::Shutdown,
            extension::ShutdownCause,
            extension::ShutdownReason,
            extension::CommandError,
            extension::ReceiveError,
            extension::Call,
            extension::Event,
            extension::Extension,
            extension::Phase,
            extension::Recovery,
            extension::Reply,
            extension::EventKind,
            extension::ExtensionName,
            extension::InvalidExtensionName,
            http::BodyDecoder,
            http::BodyError,
            http::BodyLength,
            http::ChunkPosition,
            http::ResponseHead,
            http::HeadError,
            http::HeadParser,
            http::ReplyError,
            http::BufferTooSmall,
            lambda_proto::JsonError,
            lambda_proto::JsonStr,
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
            slot::AfterEnd,
            slot::End,
            slot::Step,
            slot::Answer,
            slot::StreamOver,
            slot::Notice,
            slot::Trouble,
            slot::HeldEvent<Memory>;
        Default: default for
            api::ClientApplication,
            api::ClientContext,
            api::CognitoIdentity,
            api::ServiceError,
            api::HeadIndex,
            api::InvocationIds,
            api::Concurrency,
            extension::Registration,
            http::HeadParser,
            lambda_proto::JsonStr,
            metadata::ExecutionEnvironment,
            metadata::MetadataReader;
        Deref: deref for
            slot::Invocation;
        Display: fmt for
            api::InvalidContentType,
            api::EndpointError,
            api::InvalidUserAgent,
            api::InvalidInvocation,
            api::Call,
            api::Outcome,
            api::PreludeError,
            driver::DriverError<Failure>,
            extension::ShutdownReason,
            extension::CommandError,
            extension::ReceiveError,
            extension::Call,
            extension::Phase,
            extension::Reply,
            extension::InvalidExtensionName,
            http::BodyError,
            http::HeadError,
            http::ReplyError,
            http::BufferTooSmall,
            lambda_proto::JsonError,
            lambda_proto::JsonStr,
            machine::CommandError,
            machine::ReceiveError,
            machine::Phase,
            metadata::InvalidToken,
            slot::End,
            slot::StreamOver,
            slot::Notice;
        From<http::HeadError>: from for
            api::InvalidInvocation,
            http::ReplyError;
        From<http::BodyError>: from for
            http::ReplyError;
        From<http::ReplyError>: from for
            extension::ReceiveError,
            machine::ReceiveError;
        From<http::BufferTooSmall>: from for
            extension::CommandError,
            machine::CommandError;
        From<machine::CommandError>: from for
            driver::DriverError<Failure>;
        From<&'static [u8]>: from for
            driver::Response;
        Hash: hash for
            api::Deadline,
            api::Call,
            extension::ShutdownCause,
            extension::Call,
            extension::Phase,
            extension::EventKind,
            machine::Phase;
        Host: connect for
            Connect;
        Host: notice for
            Service;
        Host: is_stopping for
            Service;
        Host: begin_wait for
            Service;
        Host: end_wait for
            Service;
        Link: write_parts for
            Wire;
        Ord: cmp for
            api::Deadline;
        PartialEq: eq for
            api::ContentType,
            api::InvalidContentType,
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
            api::InvalidInvocation,
            api::InvocationIds,
            api::Call,
            api::Concurrency,
            api::Meaning,
            api::Outcome,
            api::Then,
            api::PreludeError,
            api::ResponseLength,
            driver::DriverError<Failure>,
            extension::EnvironmentEvent,
            extension::Invoke,
            extension::Registration,
            extension::Shutdown,
            extension::ShutdownCause,
            extension::ShutdownReason,
            extension::CommandError,
            extension::ReceiveError,
            extension::Call,
            extension::Event,
            extension::Phase,
            extension::Recovery,
            extension::Reply,
            extension::EventKind,
            extension::ExtensionName,
            extension::InvalidExtensionName,
            http::BodyError,
            http::BodyLength,
            http::ChunkPosition,
            http::ResponseHead,
            http::HeadError,
            http::ReplyError,
            http::BufferTooSmall,
            lambda_proto::JsonError,
            lambda_proto::JsonStr,
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
            slot::AfterEnd,
            slot::End,
            slot::Step,
            slot::Answer,
            slot::StreamOver;
        PartialEq<str>: eq for
            lambda_proto::JsonStr;
        PartialEq<&str>: eq for
            lambda_proto::JsonStr;
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
    }
}
