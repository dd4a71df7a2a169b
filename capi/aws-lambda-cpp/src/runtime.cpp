#include "aws/lambda-runtime/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include <cxxabi.h>
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "aws/lambda-runtime/version.h"
#include "pool.h"
#include "report.h"

namespace aws {
namespace lambda_runtime {

using http::response_code;

namespace {

/// Runs a call. The callers of the clients in C cannot pass an exception on.
template <typename Outcome, typename Call> Outcome guarded(Call call)
{
    try {
        return call();
    } catch (const std::exception &error) {
        // No memory, or an invalid address.
        detail::log(error.what());
        return response_code::REQUEST_NOT_MADE;
    }
}

/// The id as get_next() has returned it.
std::string decoded(detail::pool &pool, const std::string &request_id)
{
    return pool.has_in_flight(request_id) ? request_id : detail::percent_decoded(request_id);
}

} // namespace

invocation_response invocation_response::success(const std::string &payload,
                                                 const std::string &content_type)
{
    return invocation_response(payload, content_type, true);
}

invocation_response invocation_response::failure(const std::string &error_message,
                                                 const std::string &error_type,
                                                 const std::string &xray_response)
{
    const std::string json = "{\"errorMessage\":" + detail::json_string(error_message)
        + ",\"errorType\":" + detail::json_string(error_type) + ",\"stackTrace\":[]}";
    return invocation_response(json, "application/json", false, xray_response);
}

runtime::runtime(const std::string &endpoint, const std::string &user_agent)
    : m_pool(std::make_shared<detail::pool>(endpoint, user_agent))
{
}

runtime::runtime(const std::string &endpoint) : runtime(endpoint, std::string()) {}

runtime::~runtime() = default;

runtime::next_outcome runtime::get_next()
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<next_outcome>([&] { return pool->next(); });
}

runtime::post_outcome runtime::post_success(const std::string &request_id,
                                            const invocation_response &response,
                                            const std::string &invocation_id)
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<post_outcome>(
        [&] { return pool->post(request_id, invocation_id, response, true); });
}

runtime::post_outcome runtime::post_success(const std::string &request_id,
                                            const invocation_response &response)
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<post_outcome>(
        [&] { return pool->post(decoded(*pool, request_id), std::string(), response, true); });
}

runtime::post_outcome runtime::post_failure(const std::string &request_id,
                                            const invocation_response &response,
                                            const std::string &invocation_id)
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<post_outcome>(
        [&] { return pool->post(request_id, invocation_id, response, false); });
}

runtime::post_outcome runtime::post_failure(const std::string &request_id,
                                            const invocation_response &response)
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<post_outcome>(
        [&] { return pool->post(decoded(*pool, request_id), std::string(), response, false); });
}

runtime::post_outcome runtime::post_init_error(const runtime_response &init_error_response)
{
    const std::shared_ptr<detail::pool> pool = m_pool;
    return guarded<post_outcome>([&] { return pool->fail_init(init_error_response); });
}

namespace {

invocation_response call(const std::function<invocation_response(const invocation_request &)> &handler,
                         const invocation_request &request)
{
    try {
        return handler(request);
#ifdef __GLIBCXX__
    } catch (const abi::__forced_unwind &) {
        throw; // a cancelled thread
#endif
    } catch (const std::exception &error) {
        return invocation_response::failure(error.what(), "Function.Exception");
    } catch (...) {
        return invocation_response::failure("the handler threw something that is not a std::exception",
                                            "Function.Exception");
    }
}

} // namespace

void run_handler(const std::function<invocation_response(const invocation_request &)> &handler)
{
    const char *endpoint = std::getenv("AWS_LAMBDA_RUNTIME_API");
    if (endpoint == nullptr) {
        detail::log(lambda_proto_error_text(LAMBDA_PROTO_ERROR_ENVIRONMENT));
        return;
    }
    detail::pool pool(endpoint, std::string());
    for (;;) {
        const runtime::next_outcome next =
            guarded<runtime::next_outcome>([&] { return pool.next(); });
        if (!next.is_success())
            return;
        const invocation_request &request = next.get_result();
        const auto post = [&](const invocation_response &response) {
            // A refusal ends its invocation only, and next() knows whether the runtime is over.
            guarded<runtime::post_outcome>([&] {
                return pool.post(request.request_id, request.invocation_id, response,
                                 response.is_success());
            });
        };
        post(call(handler, request));
        if (!pool.has_in_flight(request.request_id))
            continue;
        // Nothing was sent, because the response is not one.
        post(invocation_response::failure("the response could not be sent: the log says why",
                                          "Runtime.InvalidResponse"));
        if (pool.has_in_flight(request.request_id))
            return;
    }
}

unsigned get_version_major() { return static_cast<unsigned>(std::atoi(get_version())); }

unsigned get_version_minor()
{
    unsigned major = 0, minor = 0;
    std::sscanf(get_version(), "%u.%u", &major, &minor);
    return minor;
}

unsigned get_version_patch()
{
    unsigned major = 0, minor = 0, patch = 0;
    std::sscanf(get_version(), "%u.%u.%u", &major, &minor, &patch);
    return patch;
}

const char *get_version() { return lambda_proto_version(); }

namespace detail {

namespace {

iovec part(const char *text, std::size_t length) noexcept
{
    return iovec{const_cast<char *>(text), length}; // writev() only reads it
}

/// Writes all parts at once, so that lines of several threads do not mix.
void write_line(const iovec *parts, int count) noexcept
{
    ssize_t written;
    do
        written = writev(STDERR_FILENO, parts, count);
    while (written < 0 && errno == EINTR);
}

constexpr char PREFIX[] = "lambda_proto: ";

} // namespace

void log(const char *text, std::size_t length) noexcept
{
    const iovec line[] = {part(PREFIX, sizeof PREFIX - 1), part(text, length), part("\n", 1)};
    write_line(line, 3);
}

void log(const char *text, const char *more, const char *rest) noexcept
{
    const iovec line[] = {part(PREFIX, sizeof PREFIX - 1), part(text, std::strlen(text)),
                          part(more, std::strlen(more)), part(rest, std::strlen(rest)),
                          part("\n", 1)};
    write_line(line, 5);
}

} // namespace detail

} // namespace lambda_runtime
} // namespace aws
