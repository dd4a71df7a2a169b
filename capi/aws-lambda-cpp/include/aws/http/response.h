// Statuses and a reply of HTTP. Source compatible with the header of this name in aws-lambda-cpp.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace aws {
namespace http {

/// A status of HTTP, under the names of aws-lambda-cpp; other numbers are possible. The numbers are
/// those of the registry of HTTP status codes, or else those that servers use. REQUEST_NOT_MADE means
/// that there was no reply.
enum class response_code {
    REQUEST_NOT_MADE = -1,

    CONTINUE = 100,
    SWITCHING_PROTOCOLS = 101,
    PROCESSING = 102,

    OK = 200,
    CREATED = 201,
    ACCEPTED = 202,
    NON_AUTHORITATIVE_INFORMATION = 203,
    NO_CONTENT = 204,
    RESET_CONTENT = 205,
    PARTIAL_CONTENT = 206,
    MULTI_STATUS = 207,
    ALREADY_REPORTED = 208,
    IM_USED = 226,

    MULTIPLE_CHOICES = 300,
    MOVED_PERMANENTLY = 301,
    FOUND = 302,
    SEE_OTHER = 303,
    NOT_MODIFIED = 304,
    USE_PROXY = 305,
    SWITCH_PROXY = 306,
    TEMPORARY_REDIRECT = 307,
    PERMANENT_REDIRECT = 308,

    BAD_REQUEST = 400,
    UNAUTHORIZED = 401,
    PAYMENT_REQUIRED = 402,
    FORBIDDEN = 403,
    NOT_FOUND = 404,
    METHOD_NOT_ALLOWED = 405,
    NOT_ACCEPTABLE = 406,
    PROXY_AUTHENTICATION_REQUIRED = 407,
    REQUEST_TIMEOUT = 408,
    CONFLICT = 409,
    GONE = 410,
    LENGTH_REQUIRED = 411,
    PRECONDITION_FAILED = 412,
    REQUEST_ENTITY_TOO_LARGE = 413,
    REQUEST_URI_TOO_LONG = 414,
    UNSUPPORTED_MEDIA_TYPE = 415,
    REQUESTED_RANGE_NOT_SATISFIABLE = 416,
    EXPECTATION_FAILED = 417,
    IM_A_TEAPOT = 418,
    AUTHENTICATION_TIMEOUT = 419,
    METHOD_FAILURE = 420,
    UNPROC_ENTITY = 422,
    LOCKED = 423,
    FAILED_DEPENDENCY = 424,
    UPGRADE_REQUIRED = 426,
    PRECONDITION_REQUIRED = 428,
    TOO_MANY_REQUESTS = 429,
    REQUEST_HEADER_FIELDS_TOO_LARGE = 431,
    LOGIN_TIMEOUT = 440,
    NO_RESPONSE = 444,
    RETRY_WITH = 449,
    BLOCKED = 450,
    REDIRECT = 451,
    REQUEST_HEADER_TOO_LARGE = 494,
    CERT_ERROR = 495,
    NO_CERT = 496,
    HTTP_TO_HTTPS = 497,
    CLIENT_CLOSED_TO_REQUEST = 499,

    INTERNAL_SERVER_ERROR = 500,
    NOT_IMPLEMENTED = 501,
    BAD_GATEWAY = 502,
    SERVICE_UNAVAILABLE = 503,
    GATEWAY_TIMEOUT = 504,
    HTTP_VERSION_NOT_SUPPORTED = 505,
    VARIANT_ALSO_NEGOTIATES = 506,
    INSUFFICIENT_STORAGE = 507,
    LOOP_DETECTED = 508,
    BANDWIDTH_LIMIT_EXCEEDED = 509,
    NOT_EXTENDED = 510,
    NETWORK_AUTHENTICATION_REQUIRED = 511,
    NETWORK_READ_TIMEOUT = 598,
    NETWORK_CONNECT_TIMEOUT = 599
};

/// A reply. The runtime does not need it; it is here for programs that do.
class response {
public:
    /// Adds a header. Names are compared without case.
    void add_header(const std::string &name, const std::string &value)
    {
        m_headers.emplace_back(lower(name), value);
    }

    void append_body(const char *bytes, std::size_t length) { m_body.append(bytes, length); }

    bool has_header(const char *name) const { return find(name) != nullptr; }

    /// The first value of the header; the empty text if there is none.
    const std::string &get_header(const char *name) const
    {
        static const std::string none;
        const std::string *value = find(name);
        return value == nullptr ? none : *value;
    }

    response_code get_response_code() const { return m_response_code; }
    void set_response_code(response_code code) { m_response_code = code; }
    void set_content_type(const char *content_type) { m_content_type = content_type; }
    const std::string &get_body() const { return m_body; }
    const std::string &get_content_type() const { return m_content_type; }

private:
    static std::string lower(std::string text)
    {
        for (char &character : text)
            if (character >= 'A' && character <= 'Z')
                character = static_cast<char>(character - 'A' + 'a');
        return text;
    }

    const std::string *find(const char *name) const
    {
        const std::string wanted = lower(name);
        for (const std::pair<std::string, std::string> &header : m_headers)
            if (header.first == wanted)
                return &header.second;
        return nullptr;
    }

    response_code m_response_code = response_code::REQUEST_NOT_MADE;
    std::vector<std::pair<std::string, std::string>> m_headers;
    std::string m_body;
    std::string m_content_type;
};

} // namespace http
} // namespace aws
