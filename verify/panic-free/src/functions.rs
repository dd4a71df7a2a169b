//! The functions and inherent methods of `lambda-proto` and `lambda-proto-extension`.

use core::hint::black_box;

use lambda_proto::{api, async_driver, client, driver, http, json, lifecycle, machine};
use lambda_proto_extension::{barrier, collector, metadata, subscription, telemetry};

use crate::keep_future;
use crate::opaque::{
    AsyncConnect, AsyncHandler, Document, Handler, Memory, Pieces, Service, Tell, Wire,
};

type AsyncDriver = async_driver::Driver<Service, Memory>;

macro_rules! keep {
    ($($function:expr),* $(,)?) => { $(crate::keep($function as *const ());)* };
}

pub(crate) fn keep() {
    keep! {
        api::ClientContext::parse,
        api::CognitoIdentity::parse,
        api::ContentType::as_bytes,
        api::ContentType::as_str,
        api::ContentType::from_bytes,
        api::ContentType::new,
        api::Deadline::as_unix_millis,
        api::Deadline::from_unix_millis,
        api::Deadline::remaining,
        api::Concurrency::of_slots,
        api::Concurrency::slots,
        api::Endpoint::authority,
        api::Endpoint::host,
        api::Endpoint::parse,
        api::Endpoint::path_prefix,
        api::Endpoint::port,
        api::Endpoint::user_agent,
        api::Endpoint::with_user_agent,
        api::EndpointError::problem,
        api::ErrorReport::encode_json,
        api::ErrorReport::encode_trailers,
        api::ErrorReport::json,
        api::ErrorReport::limit,
        api::ErrorReport::new,
        api::ErrorReport::stack_trace,
        api::ErrorReport::without_xray_cause,
        api::ErrorReport::xray_cause,
        api::HeadIndex::on,
        api::HeadIndex::parse,
        api::HttpPrelude::encode,
        api::HttpPrelude::new,
        api::InvocationHead::as_bytes,
        api::InvocationHead::attempt_id,
        api::InvocationHead::client_context,
        api::InvocationHead::cognito_identity,
        api::InvocationHead::content_type,
        api::InvocationHead::deadline,
        api::InvocationHead::header,
        api::InvocationHead::index,
        api::InvocationHead::invoked_function_arn,
        api::InvocationHead::parse,
        api::InvocationHead::request_id,
        api::InvocationHead::tenant_id,
        api::InvocationHead::trace_id,
        api::InvocationIds::attempt_id,
        api::InvocationIds::new,
        api::InvocationIds::of,
        api::InvocationIds::request_id,
        api::Outcome::call,
        api::Outcome::is_accepted,
        api::Outcome::meaning,
        api::Outcome::new,
        api::Outcome::status,
        api::Outcome::action,
        api::Outcome::under,
        api::Request::encode,
        api::RequestWriter::error_type,
        api::RequestWriter::field,
        api::RequestWriter::finish,
        api::RequestWriter::finish_with_report,
        api::RequestWriter::get,
        api::RequestWriter::post,
        api::RequestWriter::put,
        api::ServiceError::parse,
    }
    keep! {
        driver::Driver::<Service, Memory>::fail_in_flight,
        driver::Driver::<Service, Memory>::fail_init,
        driver::Driver::<Service, Memory>::fail_restore,
        driver::Driver::<Service, Memory>::connector,
        driver::Driver::<Service, Memory>::machine,
        driver::Driver::<Service, Memory>::new,
        driver::Driver::<Service, Memory>::next,
        driver::Driver::<Service, Memory>::restore_next,
        driver::Driver::<Service, Memory>::with_max_event,
        client::Invocation::body,
        driver::Responder::<Service, Memory>::fail,
        driver::Responder::<Service, Memory>::stream,
        driver::Response::new,
        driver::Sent::receipt,
        driver::Stream::<Service, Memory>::fail,
        driver::Stream::<Service, Memory>::finish,
        driver::Stream::<Service, Memory>::finish_and_next,
        driver::Stream::<Service, Memory>::write,
    }
    // Those that are `async` are below: their code is that of their futures.
    keep! {
        async_driver::Driver::<Service, Memory>::connector,
        async_driver::Driver::<Service, Memory>::in_flight,
        async_driver::Driver::<Service, Memory>::invocation,
        async_driver::Driver::<Service, Memory>::machine,
        async_driver::Driver::<Service, Memory>::new,
        async_driver::Driver::<Service, Memory>::responder,
        async_driver::Driver::<Service, Memory>::stream,
        async_driver::Driver::<Service, Memory>::take_event,
        async_driver::Driver::<Service, Memory>::with_max_event,
        async_driver::Responder::<Service, Memory>::stream,
    }
    keep! {
        lambda_proto_extension::EnvironmentEvent::parse,
        lambda_proto_extension::Extension::end_of_stream,
        lambda_proto_extension::Extension::endpoint,
        lambda_proto_extension::Extension::event_identifier,
        lambda_proto_extension::Extension::fail,
        lambda_proto_extension::Extension::fail_init,
        lambda_proto_extension::Extension::identifier,
        lambda_proto_extension::Extension::must_reconnect,
        lambda_proto_extension::Extension::new,
        lambda_proto_extension::Extension::next,
        lambda_proto_extension::Extension::on_disconnect,
        lambda_proto_extension::Extension::phase,
        lambda_proto_extension::Extension::read_event,
        lambda_proto_extension::Extension::receive,
        lambda_proto_extension::Extension::register,
        lambda_proto_extension::Extension::sent,
        lambda_proto_extension::Extension::shut_down,
        lambda_proto_extension::Extension::subscribe,
        lambda_proto_extension::Extension::unsent,
        lambda_proto_extension::ExtensionName::as_str,
        lambda_proto_extension::ExtensionName::new,
        lambda_proto_extension::Refusal::kind,
        lambda_proto_extension::Refusal::message,
        lambda_proto_extension::Refusal::parse,
        lambda_proto_extension::Refusal::remedy,
        lambda_proto_extension::Refusal::reply,
        lambda_proto_extension::Registrant::external,
        lambda_proto_extension::Registrant::internal,
        lambda_proto_extension::Registrant::managed_external,
        lambda_proto_extension::Registrant::managed_internal,
        lambda_proto_extension::Registrant::name,
        lambda_proto_extension::Registrant::with_account_id,
        lambda_proto_extension::Registration::parse,
        lambda_proto_extension::Reply::call,
        lambda_proto_extension::Reply::is_accepted,
        lambda_proto_extension::Reply::must_exit,
        lambda_proto_extension::Reply::status,
        lambda_proto_extension::ShutdownReason::cause,
        lambda_proto_extension::ShutdownReason::text,
    }
    keep! {
        barrier::Barrier::check,
        barrier::Barrier::forgotten,
        barrier::Barrier::invoke,
        barrier::Barrier::new,
        barrier::Barrier::no_runtime_done,
        barrier::Barrier::no_telemetry,
        barrier::Barrier::outstanding,
        barrier::Barrier::report,
        barrier::Barrier::runtime_done,
        barrier::Barrier::shutdown,
        barrier::Barrier::started,
    }
    keep! {
        collector::Collector::check,
        collector::Collector::connection_refused,
        collector::Collector::event,
        collector::Collector::flush_failed,
        collector::Collector::losses,
        collector::Collector::may_log,
        collector::Collector::new,
        collector::Collector::no_runtime_done,
        collector::Collector::no_telemetry,
        collector::Collector::summary,
        collector::Collector::take_flush,
        collector::Collector::time_left,
        collector::Intake::<Memory>::end_of_stream,
        collector::Intake::<Memory>::handled,
        collector::Intake::<Memory>::is_idle,
        collector::Intake::<Memory>::lost,
        collector::Intake::<Memory>::new,
        collector::Intake::<Memory>::received,
        collector::Intake::<Memory>::room,
        collector::Intake::<Memory>::sent,
        collector::Intake::<Memory>::step,
        collector::Intake::<Memory>::unsent,
        collector::TelemetryOptions::buffering,
        collector::TelemetryOptions::listening_port,
        collector::TelemetryOptions::logs,
        collector::TelemetryOptions::new,
        collector::TelemetryOptions::own_log_limit,
        collector::TelemetryOptions::port,
        collector::TelemetryOptions::reserve,
        collector::TelemetryOptions::schema,
        collector::TelemetryOptions::subscription,
    }
    keep! {
        subscription::Buffering::with_max_bytes,
        subscription::Buffering::with_max_items,
        subscription::Buffering::with_timeout,
        subscription::Destination::http,
        subscription::Destination::http_at,
        subscription::Destination::tcp,
        subscription::Listener::on_port,
        subscription::Listener::port,
        subscription::Subscription::is_for_managed_instances,
        subscription::Subscription::logs,
        subscription::Subscription::telemetry,
        subscription::Subscription::telemetry_in,
        subscription::Subscription::with_buffering,
        subscription::TelemetryTypes::and,
        subscription::TelemetryTypes::contains,
    }
    keep! {
        telemetry::Batch::denied_bytes,
        telemetry::Batch::earlier,
        telemetry::Batch::is_redelivery,
        telemetry::Batch::records,
        telemetry::Batch::refusals,
        telemetry::Batch::unread,
        telemetry::Decision::batch,
        telemetry::Decision::give_up,
        telemetry::Decision::send_again,
        telemetry::Decision::take,
        telemetry::Deliveries::losses,
        telemetry::Deliveries::new,
        telemetry::Json::as_str,
        telemetry::Json::elements,
        telemetry::Json::is_array,
        telemetry::Json::is_null,
        telemetry::Json::is_object,
        telemetry::Json::member,
        telemetry::Json::members,
        telemetry::Json::parse,
        telemetry::Json::to_number,
        telemetry::Json::to_text,
        telemetry::Lines::<Memory>::end_of_stream,
        telemetry::Lines::<Memory>::new,
        telemetry::Lines::<Memory>::received,
        telemetry::Lines::<Memory>::room,
        telemetry::Lines::<Memory>::step,
        telemetry::Losses::add,
        telemetry::Losses::is_none,
        telemetry::Milliseconds::number,
        telemetry::Milliseconds::to_duration,
        telemetry::Number::as_str,
        telemetry::Number::to_u64,
        telemetry::Receiver::<Memory>::end_of_stream,
        telemetry::Receiver::<Memory>::is_idle,
        telemetry::Receiver::<Memory>::lost,
        telemetry::Receiver::<Memory>::new,
        telemetry::Receiver::<Memory>::received,
        telemetry::Receiver::<Memory>::room,
        telemetry::Receiver::<Memory>::sent,
        telemetry::Receiver::<Memory>::step,
        telemetry::Receiver::<Memory>::unsent,
        telemetry::Record::parse,
        telemetry::Record::raw,
        telemetry::Record::request_id,
        telemetry::Timestamp::text,
        telemetry::Timestamp::unix_millis,
        telemetry::Unread::record_type,
        telemetry::Unread::request_id,
        telemetry_lists,
    }
    keep! {
        http::ReplyReader::announced,
        http::ReplyReader::end_of_stream,
        http::ReplyReader::is_inside,
        http::RequestReader::is_inside,
    }
    keep! {
        json::JsonStr::as_escaped,
        json::JsonStr::chars,
        json::JsonStr::from_field,
        json::JsonStr::is_empty,
    }
    keep! {
        lifecycle::Clocks::since,
        lifecycle::IdleGap::length,
        lifecycle::IdleGap::thawed_after,
        lifecycle::ShutdownWindow::cancel_at,
        lifecycle::ShutdownWindow::duration,
        lifecycle::ShutdownWindow::hooks,
        lifecycle::ShutdownWindow::hooks_until,
        lifecycle::ShutdownWindow::invocation,
        lifecycle::ShutdownWindow::new,
        lifecycle::TimeLimit::arrival,
        lifecycle::TimeLimit::cancel_at,
        lifecycle::TimeLimit::deadline,
        lifecycle::TimeLimit::is_cancellation_due,
        lifecycle::TimeLimit::on_arrival,
        lifecycle::TimeLimit::remaining,
    }
    keep! {
        machine::Machine::announced,
        machine::Machine::awaits,
        machine::Machine::chunk,
        machine::Machine::end_of_stream,
        machine::Machine::endpoint,
        machine::Machine::fail,
        machine::Machine::fail_init,
        machine::Machine::fail_restore,
        machine::Machine::finish,
        machine::Machine::finish_with_error,
        machine::Machine::invocation,
        machine::Machine::is_asked,
        machine::Machine::is_inside_reply,
        machine::Machine::is_streaming,
        machine::Machine::losses,
        machine::Machine::must_reconnect,
        machine::Machine::new,
        machine::Machine::next,
        machine::Machine::on_disconnect,
        machine::Machine::phase,
        machine::Machine::receive,
        machine::Machine::respond,
        machine::Machine::restore_next,
        machine::Machine::sent,
        machine::Machine::shut_down,
        machine::Machine::withdraw,
        machine::Machine::stream,
        machine::Machine::unsent,
        machine::Machine::unsent_len,
        machine::Machine::with_concurrency,
    }
    keep! {
        metadata::ExecutionEnvironment::parse,
        metadata::MetadataReader::end_of_stream,
        metadata::MetadataReader::receive,
        metadata::MetadataReply::is_persistent,
        metadata::MetadataReply::max_age,
        metadata::MetadataReply::meaning,
        metadata::MetadataReply::status,
        metadata::MetadataToken::new,
        metadata::encode_request,
    }
    keep! {
        client::End::begins_anew,
        client::Exchange::<Memory>::chunk,
        client::Exchange::<Memory>::connected,
        client::Exchange::<Memory>::end,
        client::Exchange::<Memory>::finish,
        client::Exchange::<Memory>::is_connected,
        client::Exchange::<Memory>::is_streaming,
        client::Exchange::<Memory>::is_waiting,
        client::Exchange::<Memory>::lost,
        client::Exchange::<Memory>::machine,
        client::Exchange::<Memory>::may_stop,
        client::Exchange::<Memory>::quiet_step,
        client::Exchange::<Memory>::received,
        client::Exchange::<Memory>::respond,
        client::Exchange::<Memory>::room,
        client::Exchange::<Memory>::sent,
        client::Exchange::<Memory>::shut_down,
        client::Exchange::<Memory>::withdraw,
        client::Exchange::<Memory>::stream,
        client::Exchange::<Memory>::unsent,
        client::Exchange::<Memory>::write_failed,
        client::HeldEvent::<Memory>::invocation,
        client::HeldEvent::<Memory>::into_storage,
        client::Client::<Memory>::ask,
        client::Client::<Memory>::begin_anew,
        client::Client::<Memory>::end,
        client::Client::<Memory>::exchange,
        client::Client::<Memory>::in_flight,
        client::Client::<Memory>::fail_init,
        client::Client::<Memory>::fail_restore,
        client::Client::<Memory>::invocation,
        client::Client::<Memory>::is_connected,
        client::Client::<Memory>::is_streaming,
        client::Client::<Memory>::is_waiting,
        client::Client::<Memory>::machine,
        client::Client::<Memory>::may_stop,
        client::Client::<Memory>::new,
        client::Client::<Memory>::restore_next,
        client::Client::<Memory>::take_event,
        client::Client::<Memory>::with_max_event,
        client::Outage::connected,
        client::Outage::connections,
        client::Outage::failed,
        client::Outage::lasted,
        client::Outage::lost,
        client::backoff,
        client::refuses_early,
    }
    keep![
        any_handler,
        answers_in_flight,
        answers,
        futures_of_a_driver,
        futures_of_answers,
        futures_of_traits,
        any_body,
        any_document,
        any_notice,
        any_reply,
        any_request,
        chars,
        outstanding,
    ];
}

fn any_handler(driver: &mut driver::Driver<Service, Memory>, handler: Handler) {
    black_box(driver::Driver::<Service, Memory>::run(driver, handler).is_ok());
}

fn answers_in_flight(driver: &mut driver::Driver<Service, Memory>, response: driver::Response<'_>) {
    black_box(driver::Driver::<Service, Memory>::invocation(driver).is_some());
    if let Some(responder) = driver::Driver::<Service, Memory>::responder(driver) {
        black_box(responder.send(response).receipt());
    }
    if let Some(stream) = driver::Driver::<Service, Memory>::stream(driver) {
        black_box(stream.finish().receipt());
    }
}

fn answers(
    replies: [driver::Responder<'_, Service, Memory>; 2],
    body: driver::Response<'_>,
    content_type: Option<api::ContentType<'_>>,
) {
    let [one, other] = replies;
    let body = driver::Response::content_type(body, content_type);
    black_box(driver::Responder::<Service, Memory>::send(one, body).receipt());
    black_box(driver::Responder::<Service, Memory>::send_and_next(other, body).receipt());
}

fn futures_of_a_driver(
    driver: &mut AsyncDriver,
    report: &api::ErrorReport<'_>,
    handler: AsyncHandler,
    piece: &[u8],
) {
    keep_future(async_driver::Driver::<Service, Memory>::write_on(driver, piece));
    keep_future(async_driver::Driver::<Service, Memory>::next(driver));
    keep_future(async_driver::Driver::<Service, Memory>::wait(driver));
    keep_future(async_driver::Driver::<Service, Memory>::restore_next(driver));
    keep_future(async_driver::Driver::<Service, Memory>::fail_in_flight(driver, report));
    keep_future(async_driver::Driver::<Service, Memory>::fail_init(driver, report));
    keep_future(async_driver::Driver::<Service, Memory>::fail_restore(driver, report));
    keep_future(async_driver::Driver::<Service, Memory>::run(driver, handler));
}

fn futures_of_answers(
    replies: [async_driver::Responder<'_, Service, Memory>; 3],
    streams: [async_driver::Stream<'_, Service, Memory>; 4],
    response: driver::Response<'_>,
    report: &api::ErrorReport<'_>,
    piece: &[u8],
) {
    let [one, two, three] = replies;
    keep_future(async_driver::Responder::<Service, Memory>::send(one, response));
    keep_future(async_driver::Responder::<Service, Memory>::send_and_next(two, response));
    keep_future(async_driver::Responder::<Service, Memory>::fail(three, report));
    let [mut one, two, three, four] = streams;
    keep_future(async_driver::Stream::<Service, Memory>::write(&mut one, piece));
    keep_future(async_driver::Stream::<Service, Memory>::write_on(&mut one, piece));
    keep_future(async_driver::Stream::<Service, Memory>::finish(two));
    keep_future(async_driver::Stream::<Service, Memory>::finish_and_next(three));
    keep_future(async_driver::Stream::<Service, Memory>::fail(four, report));
}

fn futures_of_traits(connect: &mut AsyncConnect, wire: &mut Wire, parts: [&[u8]; 3]) {
    keep_future(async_driver::Connector::connect(connect, 0));
    keep_future(async_driver::Connection::write_parts(wire, parts));
}

fn any_body(writer: api::RequestWriter<'_>, pieces: &[&[u8]]) {
    black_box(
        api::RequestWriter::finish_with::<Pieces<'_>>(writer, pieces.iter().copied()).is_ok(),
    );
}

fn any_document(document: &[u8]) {
    black_box(json::parse::<Document<'_>>(document).is_ok());
}

fn any_notice(client: &mut client::Client<Memory>, report: &api::ErrorReport<'_>, tell: Tell) {
    let mut exchange = client::Client::<Memory>::exchange(client);
    black_box(client::Exchange::<Memory>::step(&mut exchange, tell));
    black_box(client::Exchange::<Memory>::fail(&mut exchange, report, tell).is_ok());
    black_box(client::Exchange::<Memory>::abandon(&mut exchange, tell));
    black_box(client::Client::<Memory>::give_up(client, tell).is_ok());
}

fn any_reply(
    reader: &mut http::ReplyReader,
    input: &mut &'static [u8],
    note: &mut fn(&'static [u8], &'static [u8]) -> bool,
) {
    black_box(http::ReplyReader::read(reader, input, note).is_ok());
}

fn any_request(
    reader: &mut http::RequestReader,
    input: &mut &'static [u8],
    note: &mut fn(&'static [u8], &'static [u8]) -> bool,
) {
    black_box(http::RequestReader::read(reader, input, note).is_ok());
}

fn telemetry_lists(spans: telemetry::Spans<'_>, texts: telemetry::Texts<'_>) {
    telemetry::Spans::iter(&spans).for_each(|span| {
        black_box(span);
    });
    telemetry::Texts::iter(&texts).for_each(|text| {
        black_box(text);
    });
}

fn chars(text: json::JsonStr<'_>) {
    json::JsonStr::chars(&text).for_each(|character| {
        black_box(character);
    });
}

fn outstanding(barrier: &barrier::Barrier) {
    barrier::Barrier::outstanding(barrier).for_each(|id| {
        black_box(id);
    });
}
