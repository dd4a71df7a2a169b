// A client of the Lambda Runtime API with the class and the functions of aws-lambda-cpp, on lambda_proto.
//
// AWS's clients for Python and Node.js each carry a patched copy of aws-lambda-cpp. This header serves
// both of them, and programs that were written for the library itself.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "aws/http/response.h"
#include "aws/lambda-runtime/outcome.h"

namespace aws {
namespace lambda_runtime {

/// An event with its metadata. What the service did not send is empty.
struct invocation_request {
    /// The body: any bytes, mostly JSON.
    std::string payload;
    /// Lambda-Runtime-Aws-Request-Id.
    std::string request_id;
    /// Lambda-Runtime-Trace-Id.
    std::string xray_trace_id;
    /// Lambda-Runtime-Client-Context.
    std::string client_context;
    /// Lambda-Runtime-Cognito-Identity.
    std::string cognito_identity;
    /// Lambda-Runtime-Invoked-Function-Arn.
    std::string function_arn;
    /// Content-Type.
    std::string content_type;
    /// Lambda-Runtime-Aws-Tenant-Id.
    std::string tenant_id;
    /// Lambda-Runtime-Invocation-Id: the id of this attempt.
    std::string invocation_id;
    /// When the invocation times out; the epoch if the service did not say.
    std::chrono::time_point<std::chrono::system_clock> deadline;

    /// The time that is left until the deadline; negative after it.
    std::chrono::milliseconds get_time_remaining() const
    {
        using namespace std::chrono;
        return duration_cast<milliseconds>(deadline - system_clock::now());
    }
};

/// A body with its type, and a cause for X-Ray in JSON.
class runtime_response {
public:
    runtime_response() = default;
    runtime_response(const std::string &payload, const std::string &content_type,
                     const std::string &xray_response)
        : m_payload(payload), m_content_type(content_type), m_xray_response(xray_response)
    {
    }

    const std::string &get_payload() const { return m_payload; }
    const std::string &get_content_type() const { return m_content_type; }
    const std::string &get_xray_response() const { return m_xray_response; }

protected:
    std::string m_payload;
    std::string m_content_type;
    std::string m_xray_response;
};

/// What a handler returns: a response, or an error report.
class invocation_response : public runtime_response {
public:
    invocation_response() = default;
    invocation_response(const std::string &payload, const std::string &content_type, bool success,
                        const std::string &xray_response = std::string())
        : runtime_response(payload, content_type, xray_response), m_success(success)
    {
    }

    /// A response.
    static invocation_response success(const std::string &payload, const std::string &content_type);

    /// An error report in JSON, with errorMessage, errorType and an empty stackTrace.
    static invocation_response failure(const std::string &error_message, const std::string &error_type,
                                       const std::string &xray_response = std::string());

    bool is_success() const { return m_success; }

private:
    bool m_success = false;
};

/// The result of a call that returns nothing.
struct no_result {};

namespace detail {
class pool;
}

/// A client of the Runtime API. Any number of threads may use one at the same time. It connects when
/// it is first used, and again in each process that is forked.
///
/// Calls retry while that can lose or duplicate nothing. Failures are the status of the reply, or
/// REQUEST_NOT_MADE if there was none; a line on standard error says why. After a reply that ends the
/// runtime, such as a 500, every later call fails with that status, except answers to invocations that
/// are still in flight.
class runtime {
public:
    using next_outcome = outcome<invocation_request, http::response_code>;
    using post_outcome = outcome<no_result, http::response_code>;

    /// `endpoint` is the value of AWS_LAMBDA_RUNTIME_API. A user agent with other characters than
    /// visible ASCII is replaced by that of this library.
    runtime(const std::string &endpoint, const std::string &user_agent);
    runtime(const std::string &endpoint);
    runtime(const runtime &) = delete;
    runtime &operator=(const runtime &) = delete;
    ~runtime();

    /// Waits for the next invocation, without a time limit.
    next_outcome get_next();

    /// Sends the response to an invocation, or reports that it failed. An error report is a payload in
    /// JSON, whose errorType becomes that of the request. The invocation need not be one of this client.
    ///
    /// With two arguments, a request id that is none of this client's may be percent-encoded. With
    /// three, it is as get_next() returned it; an empty `invocation_id` is that of get_next().
    post_outcome post_success(const std::string &request_id, const invocation_response &response,
                              const std::string &invocation_id);
    post_outcome post_success(const std::string &request_id, const invocation_response &response);
    post_outcome post_failure(const std::string &request_id, const invocation_response &response,
                              const std::string &invocation_id);
    post_outcome post_failure(const std::string &request_id, const invocation_response &response);

    /// Reports that the function could not start. Exit afterwards.
    post_outcome post_init_error(const runtime_response &init_error_response);

private:
    /// Shared with calls in progress, which may outlast an object that is destroyed at exit.
    std::shared_ptr<detail::pool> m_pool;
};

/// Asks for invocations, one after the other, and answers each with what the handler returns. Returns
/// when there are no more, which is never a success: exit with a code other than 0. An exception of the
/// handler is reported as an error of its invocation. So is a response that cannot be sent, because its
/// content type has a control character or more than 256 bytes: as Runtime.InvalidResponse.
void run_handler(const std::function<invocation_response(const invocation_request &)> &handler);

} // namespace lambda_runtime
} // namespace aws
