#include "session.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>

#include "socket.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

namespace {

using http::response_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t FIRST_EVENTS = 8192;
constexpr std::size_t MAX_EVENT = 16 * 1024 * 1024;
/// How long a slot pauses before it starts over after an invalid reply.
constexpr milliseconds ANEW{1000};

/// Calls a command of the client until it has the memory that it needs.
template <typename Call, typename Grow> std::int32_t with_memory(Call call, Grow grow)
{
    std::int32_t code;
    do
        code = call();
    while (code == LAMBDA_PROTO_ERROR_MEMORY && grow());
    return code;
}

} // namespace

session::session(const settings &settings) : m_settings(settings)
{
    // Of 64-bit numbers, because a client is aligned like them at most.
    m_client_memory.resize((lambda_proto_client_size() + 7) / 8);
    m_memory[EVENTS].resize(FIRST_EVENTS);
    m_memory[REQUESTS].resize(LAMBDA_PROTO_REQUEST_MEMORY);
    open();
}

session::~session() { hang_up(); }

void session::open()
{
    const std::string &agent = m_settings.user_agent;
    void *memory = m_client_memory.data();
    std::int32_t code = lambda_proto_client_init(
        memory, m_client_memory.size() * sizeof(std::uint64_t), m_settings.address.data(),
        m_settings.address.size(), agent.empty() ? nullptr : agent.data(), agent.size(),
        m_settings.slots);
    if (code < 0)
        throw std::invalid_argument(lambda_proto_error_text(code));
    m_client = static_cast<lambda_proto_client *>(memory);
    lambda_proto_client_set_max_event(m_client, MAX_EVENT);
    set_limits();
    lambda_proto_client_give_memory(m_client, LAMBDA_PROTO_MEMORY_EVENTS, m_memory[EVENTS].data(),
                                    m_memory[EVENTS].size());
    lambda_proto_client_give_memory(m_client, LAMBDA_PROTO_MEMORY_REQUESTS, m_memory[REQUESTS].data(),
                                    m_memory[REQUESTS].size());
    m_begun = 0;
}

void session::begin_anew()
{
    // Bytes that nobody has asked for would be taken for the next reply.
    if (m_socket >= 0 && (m_is_spare || lambda_proto_client_is_connected(m_client) == 1)
        && is_silent(m_socket))
        m_is_spare = true;
    else
        hang_up();
    lambda_proto_client_close(m_client);
    open();
}

bool session::next(invocation_request &request, response_code &failure)
{
    if (m_is_short)
        set_limits();
    for (;;) {
        std::int32_t code, step = pump();
        switch (step) {
        case LAMBDA_PROTO_STEP_ANSWER:
            try {
                copy_event(request);
                // As a C string it would be another id. An answer without one gets that of the session.
                if (request.invocation_id.find('\0') != std::string::npos)
                    request.invocation_id.clear();
                // The clients pass ids on as C strings, and would answer another invocation.
                if (request.request_id.find('\0') == std::string::npos)
                    return true;
                log("an invocation whose request id contains NUL has failed");
                request = invocation_request();
                code = report(failure_report{"Runtime.InvalidRequestId",
                                             "the request id contains NUL", "", ""});
            } catch (const std::bad_alloc &) {
                log("an invocation has failed: no memory for a copy of its event");
                request = invocation_request();
                code = report(failure_report{"Runtime.EventTooLarge",
                                             "no memory for a copy of the event", "", ""});
            }
            if (code < 0) {
                failure = over(code);
                return false;
            }
            break;
        case LAMBDA_PROTO_STEP_IDLE:
            code = with_memory([this] { return lambda_proto_client_ask(m_client); },
                               [this] { return grow(); });
            if (code < 0) {
                failure = over(code);
                return false;
            }
            break;
        case LAMBDA_PROTO_STEP_SETTLED:
            break;
        default: {
            const char *text;
            std::size_t length;
            if (m_settings.slots < 2
                || lambda_proto_client_end(m_client, &text, &length) != LAMBDA_PROTO_END_PROTOCOL) {
                failure = over(step);
                return false;
            }
            log_end();
            hang_up();
            std::this_thread::sleep_for(ANEW);
            lambda_proto_client_begin_anew(m_client);
            break;
        }
        }
    }
}

bool session::adopt(const std::string &request_id, const std::string &attempt_id)
{
    // A value with a line break would be several headers.
    for (const std::string *id : {&request_id, &attempt_id})
        if (id->find_first_of(std::string("\r\n\0", 3)) != std::string::npos
            || (!id->empty() && (std::strchr(" \t", id->front()) || std::strchr(" \t", id->back()))))
            return false;
    // A lost answer is not always sent again, so a connection that may be stale is not used.
    if (m_socket >= 0 && !is_silent(m_socket)) {
        if (!m_is_spare) {
            lambda_proto_client_lost(m_client);
            next_step();
        }
        hang_up();
    }
    const bool is_connected = m_socket >= 0;
    if (with_memory([this] { return lambda_proto_client_ask(m_client); }, [this] { return grow(); }) < 0)
        return false;
    // The request is not written. The client reads the event that the caller has received.
    std::int32_t step = next_step();
    if (step == LAMBDA_PROTO_STEP_CONNECT) {
        lambda_proto_client_connected(m_client);
        m_is_spare = false;
        step = next_step();
    }
    if (step != LAMBDA_PROTO_STEP_WRITE)
        return false;
    const std::uint8_t *parts[3];
    std::size_t lengths[3];
    lambda_proto_client_unsent(m_client, parts, lengths);
    lambda_proto_client_sent(m_client, lengths[0] + lengths[1] + lengths[2]);
    std::string reply = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: " + request_id + "\r\n";
    if (!attempt_id.empty())
        reply += "Lambda-Runtime-Invocation-Id: " + attempt_id + "\r\n";
    reply += "Content-Length: 0\r\n\r\n";
    if (!feed(reply) || next_step() != LAMBDA_PROTO_STEP_ANSWER)
        return false;
    if (is_connected)
        return true;
    lambda_proto_client_lost(m_client);
    return next_step() == LAMBDA_PROTO_STEP_ANSWER;
}

/// Hands bytes to the client as if they had been read.
bool session::feed(const std::string &reply)
{
    for (std::size_t at = 0; at < reply.size();) {
        std::uint8_t *room;
        std::size_t length;
        std::int32_t code = with_memory(
            [&] { return lambda_proto_client_room(m_client, &room, &length); }, [this] { return grow(); });
        if (code < 0)
            return false;
        if (length > reply.size() - at)
            length = reply.size() - at;
        std::memcpy(room, reply.data() + at, length);
        if (lambda_proto_client_received(m_client, length) < 0)
            return false;
        at += length;
        if (at < reply.size() && next_step() != LAMBDA_PROTO_STEP_READ)
            return false;
    }
    return true;
}

runtime::post_outcome session::respond(const std::string &content_type, const std::string &body)
{
    return settle(with_memory(
        [&] {
            return lambda_proto_client_respond(m_client, content_type.data(), content_type.size(),
                                               body.data(), body.size(), 0);
        },
        [this] { return grow(); }));
}

runtime::post_outcome session::fail(const failure_report &failure) { return settle(report(failure)); }

/// Begins to report that the invocation in flight failed.
std::int32_t session::report(const failure_report &report)
{
    return with_memory(
        [&] {
            return lambda_proto_client_fail_json(
                m_client, report.type.data(), report.type.size(), report.message.data(),
                report.message.size(), report.json.data(), report.json.size(), report.cause.data(),
                report.cause.size());
        },
        [this] { return grow(); });
}

runtime::post_outcome session::fail_init(const failure_report &report)
{
    return settle(with_memory(
        [&] {
            return lambda_proto_client_fail_init_json(
                m_client, report.type.data(), report.type.size(), report.message.data(),
                report.message.size(), report.json.data(), report.json.size(), report.cause.data(),
                report.cause.size());
        },
        [this] { return grow(); }));
}

/// Sends an answer that has begun, and waits for what becomes of it.
runtime::post_outcome session::settle(std::int32_t code)
{
    if (code < 0) {
        log("the answer was not sent: ", lambda_proto_error_text(code));
        return response_code::REQUEST_NOT_MADE;
    }
    const std::int32_t step = pump();
    std::int32_t status = 0;
    if (step != LAMBDA_PROTO_STEP_SETTLED)
        return over(step);
    switch (lambda_proto_client_receipt(m_client, &status)) {
    case LAMBDA_PROTO_RECEIPT_ACCEPTED:
        return no_result();
    case LAMBDA_PROTO_RECEIPT_REFUSED:
        return static_cast<response_code>(status);
    default:
        return response_code::REQUEST_NOT_MADE;
    }
}

bool session::is_idle() { return next_step() == LAMBDA_PROTO_STEP_IDLE; }

bool session::has_invocation() { return next_step() == LAMBDA_PROTO_STEP_ANSWER; }

/// Logs warnings; returns the first other step.
std::int32_t session::next_step()
{
    const char *text;
    std::size_t length;
    std::int32_t step;
    // The program logs its own errors.
    while ((step = lambda_proto_client_step(m_client)) == LAMBDA_PROTO_STEP_WARNING)
        if (lambda_proto_client_warning(m_client, &text, &length) != LAMBDA_PROTO_WARNING_FAILED)
            log(text, length);
    // The client may have given up the connection in this step. Close it before another one is made,
    // or the service would count two.
    if (m_socket >= 0 && !m_is_spare && lambda_proto_client_is_connected(m_client) != 1)
        hang_up();
    return step;
}

response_code session::end_of_runtime()
{
    const char *text;
    std::size_t length;
    if (lambda_proto_client_end(m_client, &text, &length) != LAMBDA_PROTO_END_SERVICE)
        return response_code::REQUEST_NOT_MADE;
    int status = 0;
    // The three digits after "HTTP/1.1 ".
    for (std::size_t at = 9; at < m_begun && m_beginning[at] >= '0' && m_beginning[at] <= '9'; at++)
        status = 10 * status + (m_beginning[at] - '0');
    return static_cast<response_code>(status > 299 ? status : 500);
}

/// Logs why the session is over, and returns the code for the caller.
response_code session::over(std::int32_t step)
{
    hang_up();
    if (step < 0) {
        log(lambda_proto_error_text(step));
        // From now on the client uses no memory of the caller.
        lambda_proto_client_shut_down(m_client);
        return response_code::REQUEST_NOT_MADE;
    }
    log_end();
    return end_of_runtime();
}

void session::log_end()
{
    const char *text;
    std::size_t length;
    if (lambda_proto_client_end(m_client, &text, &length) > 0)
        log(text, length);
}

std::string session::field(std::int32_t field)
{
    const char *value;
    std::size_t length;
    if (lambda_proto_client_field(m_client, field, &value, &length) < 0 || length == 0)
        return std::string();
    return std::string(value, length);
}

void session::copy_event(invocation_request &request)
{
    const std::uint8_t *event;
    std::size_t length;
    std::uint64_t deadline = 0;
    if (lambda_proto_client_event(m_client, &event, &length) >= 0 && length > 0)
        request.payload.assign(reinterpret_cast<const char *>(event), length);
    request.request_id = field(LAMBDA_PROTO_FIELD_REQUEST_ID);
    request.xray_trace_id = field(LAMBDA_PROTO_FIELD_TRACE_ID);
    request.client_context = field(LAMBDA_PROTO_FIELD_CLIENT_CONTEXT);
    request.cognito_identity = field(LAMBDA_PROTO_FIELD_COGNITO_IDENTITY);
    request.function_arn = field(LAMBDA_PROTO_FIELD_FUNCTION_ARN);
    request.content_type = field(LAMBDA_PROTO_FIELD_CONTENT_TYPE);
    request.tenant_id = field(LAMBDA_PROTO_FIELD_TENANT_ID);
    request.invocation_id = field(LAMBDA_PROTO_FIELD_ATTEMPT_ID);
    // A number beyond what the clock can hold is no deadline.
    lambda_proto_client_deadline_ms(m_client, &deadline);
    if (deadline <= static_cast<std::uint64_t>(INT64_MAX) / 1000000)
        request.deadline = std::chrono::system_clock::time_point(milliseconds(deadline));
}

/// Connects, writes and reads as the client asks; returns the first other step, or an error.
std::int32_t session::pump()
{
    for (;;) {
        std::int32_t code = LAMBDA_PROTO_OK, step = next_step();
        switch (step) {
        case LAMBDA_PROTO_STEP_CONNECT:
            code = reach();
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            code = write_unsent();
            break;
        case LAMBDA_PROTO_STEP_READ:
            code = read_some();
            break;
        default:
            return step;
        }
        if (code < 0)
            return code;
    }
}

/// Connects, again and again until the patience ends.
std::int32_t session::reach()
{
    if (m_is_spare) {
        m_is_spare = false;
        return lambda_proto_client_connected(m_client);
    }
    hang_up();
    const char *host = lambda_proto_client_host(m_client);
    const int port = lambda_proto_client_port(m_client);
    const milliseconds patience(LAMBDA_PROTO_PATIENCE_MS);
    steady_clock::time_point began = steady_clock::now();
    for (std::uint32_t failed = 0;; failed++) {
        const auto random = static_cast<std::uint32_t>(
            static_cast<std::uint64_t>(steady_clock::now().time_since_epoch().count())
            * 2654435761u >> 16);
        const std::int32_t pause = lambda_proto_client_backoff_ms(m_client, failed, random);
        if (pause > 0)
            std::this_thread::sleep_for(milliseconds(pause));
        if (failed == 0)
            began = steady_clock::now();
        std::string reason;
        m_socket = connect_to(host, port, reason);
        if (m_socket >= 0) {
            if (failed > 0)
                log("connected to the Runtime API");
            return lambda_proto_client_connected(m_client);
        }
        if (steady_clock::now() - began >= patience) {
            log("no connection to the Runtime API, giving up: ", reason.c_str());
            return LAMBDA_PROTO_ERROR_UNREACHABLE;
        }
        if (failed == 0)
            log("no connection to the Runtime API: ", reason.c_str(), "; trying again");
    }
}

std::int32_t session::write_unsent()
{
    const std::uint8_t *parts[3];
    std::size_t lengths[3], written = 0;
    const int count = lambda_proto_client_unsent(m_client, parts, lengths);
    m_begun = 0;
    switch (write_to(m_socket, parts, lengths, count, written)) {
    case io::SOME:
        return lambda_proto_client_sent(m_client, written);
    case io::AGAIN:
        return LAMBDA_PROTO_OK;
    case io::MEMORY:
        return LAMBDA_PROTO_ERROR_SYSTEM;
    default:
        return lambda_proto_client_write_failed(m_client);
    }
}

std::int32_t session::read_some()
{
    std::uint8_t *room;
    std::size_t length, read = 0;
    const std::int32_t code = with_memory(
        [&] { return lambda_proto_client_room(m_client, &room, &length); }, [this] { return grow(); });
    if (code == LAMBDA_PROTO_ERROR_ROOM)
        return LAMBDA_PROTO_OK; // the next step says why
    if (code < 0)
        return code;
    switch (read_from(m_socket, room, length, read)) {
    case io::SOME:
        for (std::size_t at = 0; at < read && m_begun < sizeof m_beginning; at++)
            m_beginning[m_begun++] = static_cast<char>(room[at]);
        return lambda_proto_client_received(m_client, read);
    case io::AGAIN:
        return LAMBDA_PROTO_OK;
    default:
        return lambda_proto_client_lost(m_client);
    }
}

void session::hang_up()
{
    if (m_socket >= 0)
        close_socket(m_socket);
    m_socket = -1;
    m_is_spare = false;
}

/// Lets both memories grow, up to what the largest event and the largest report need.
void session::set_limits()
{
    m_is_short = false;
    lambda_proto_client_set_max_memory(m_client, LAMBDA_PROTO_MEMORY_EVENTS,
                                       MAX_EVENT + 2 * LAMBDA_PROTO_MAX_HEAD);
    lambda_proto_client_set_max_memory(m_client, LAMBDA_PROTO_MEMORY_REQUESTS,
                                       LAMBDA_PROTO_MAX_REQUEST_MEMORY);
}

/// Gives the client the memory that its last call needed. Returns whether to call again.
bool session::grow()
{
    const bool has_events = grow(EVENTS, LAMBDA_PROTO_MEMORY_EVENTS);
    return grow(REQUESTS, LAMBDA_PROTO_MEMORY_REQUESTS) || has_events;
}

bool session::grow(memory_kind kind, std::int32_t constant)
{
    std::size_t needed = 0;
    if (lambda_proto_client_memory_needed(m_client, constant, &needed) < 0 || needed == 0)
        return false;
    try {
        std::vector<std::uint8_t> larger(needed);
        if (lambda_proto_client_give_memory(m_client, constant, larger.data(), needed) >= 0) {
            m_memory[kind].swap(larger);
            return true;
        }
    } catch (const std::bad_alloc &) {
    }
    m_is_short = true;
    return lambda_proto_client_set_max_memory(m_client, constant, 0) >= 0;
}

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
