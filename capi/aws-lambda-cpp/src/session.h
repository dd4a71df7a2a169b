// One session of the Runtime API with its connection: a client of lambda_proto.h, with a blocking
// socket and memory that grows. One thread at a time uses it.
#pragma once

#include <lambda_proto.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "aws/lambda-runtime/runtime.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

/// What all sessions of a runtime have in common.
struct settings {
    std::string address;
    std::string user_agent;
    std::size_t slots;
};

/// A report of a failure; `json` is sent unchanged unless it is too long.
struct failure_report {
    std::string type;
    std::string message;
    std::string json;
    std::string cause;
};

class session {
public:
    /// Throws std::bad_alloc, or std::invalid_argument for settings that are none.
    explicit session(const settings &settings);
    session(const session &) = delete;
    session &operator=(const session &) = delete;
    ~session();

    /// Begins a new session on the same connection, if that is open and nothing has arrived on it.
    void begin_anew();

    /// Waits for an invocation, and copies it. On failure the session is over.
    bool next(invocation_request &request, http::response_code &failure);

    /// Takes an invocation that was received elsewhere, so that this session can answer it. Returns
    /// false if the service cannot have sent such ids.
    bool adopt(const std::string &request_id, const std::string &attempt_id);

    /// Answers the invocation in flight, and waits for the reply.
    runtime::post_outcome respond(const std::string &content_type, const std::string &body);
    runtime::post_outcome fail(const failure_report &failure);

    /// Reports that the function could not start.
    runtime::post_outcome fail_init(const failure_report &report);

    /// Whether the session can ask for an invocation, or adopt one.
    bool is_idle();

    /// Whether an invocation is in flight, and not answered.
    bool has_invocation();

    /// The status with which the service has ended the runtime, or REQUEST_NOT_MADE.
    http::response_code end_of_runtime();

private:
    enum memory_kind { EVENTS, REQUESTS };

    void open();
    std::int32_t report(const failure_report &report);
    std::int32_t next_step();
    std::int32_t pump();
    std::int32_t reach();
    std::int32_t write_unsent();
    std::int32_t read_some();
    bool feed(const std::string &reply);
    void copy_event(invocation_request &request);
    std::string field(std::int32_t field);
    runtime::post_outcome settle(std::int32_t code);
    http::response_code over(std::int32_t step);
    bool grow();
    bool grow(memory_kind kind, std::int32_t constant);
    void set_limits();
    void hang_up();
    void log_end();

    const settings m_settings;
    std::vector<std::uint64_t> m_client_memory;
    lambda_proto_client *m_client = nullptr;
    std::vector<std::uint8_t> m_memory[2];
    int m_socket = -1;
    /// The connection is left from an earlier session, and the client does not know of it.
    bool m_is_spare = false;
    /// There was no memory; the client goes on with what it has until the next invocation.
    bool m_is_short = false;
    /// The beginning of the reply that arrives, for its status.
    char m_beginning[12];
    std::size_t m_begun = 0;
};

/// Writes a line to standard error, of one to three parts. Needs no memory: there may be none.
void log(const char *text, std::size_t length) noexcept;
void log(const char *text, const char *more = "", const char *rest = "") noexcept;

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
