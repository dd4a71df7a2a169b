// lambda_proto.h for C++17: a runtime that closes itself, and errors that are exceptions.
#pragma once

#include <lambda_proto.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lambda_proto {

/// The session cannot continue, or a call was wrong.
class Error : public std::runtime_error {
public:
    explicit Error(std::int32_t code) : std::runtime_error(lambda_proto_error_text(code)), code(code) {}
    /// Whether the session cannot continue.
    bool is_over() const {
        return code == LAMBDA_PROTO_ERROR_ENDED || code == LAMBDA_PROTO_ERROR_UNREACHABLE
            || code == LAMBDA_PROTO_ERROR_SYSTEM;
    }
    const std::int32_t code;
};

/// A failure of the function, with the type that its caller sees.
class Failure : public std::runtime_error {
public:
    Failure(std::string type, const std::string &message)
        : std::runtime_error(message), type(std::move(type)) {}
    const std::string type;
};

/// Passes on a result that is not an error.
inline std::int32_t check(std::int32_t code) {
    if (code < 0) throw Error(code);
    return code;
}

class Runtime;

/// A response that is sent piece by piece. Without `finish`, it ends with the error of its handler.
class Stream {
public:
    Stream(const Stream &) = delete;
    Stream &write(std::string_view piece) {
        check(lambda_proto_runtime_stream_write(runtime, piece.data(), piece.size()));
        return *this;
    }
    void finish() { check(lambda_proto_runtime_stream_end(runtime, 0)); }

private:
    friend class Runtime;
    Stream(lambda_proto_runtime *runtime, std::string_view type) : runtime(runtime) {
        check(lambda_proto_runtime_stream_begin(runtime, type.data(), type.size()));
    }
    lambda_proto_runtime *runtime;
};

/// A runtime at AWS_LAMBDA_RUNTIME_API.
class Runtime {
public:
    Runtime() {
        lambda_proto_runtime *opened = nullptr;
        check(lambda_proto_runtime_open(&opened, nullptr, 0, nullptr, 0, 1));
        handle.reset(opened);
    }

    /// Waits for the next event, which is valid until it is answered.
    std::string_view next() {
        const std::uint8_t *event;
        std::size_t length;
        std::int32_t code;
        do code = lambda_proto_runtime_next(handle.get(), &event, &length);
        while (code == LAMBDA_PROTO_ERROR_INTERRUPTED);
        check(code);
        return {reinterpret_cast<const char *>(event), length};
    }

    /// A field of the invocation in flight; empty if it is absent.
    std::string_view field(lambda_proto_field field) const {
        const char *value;
        std::size_t length;
        check(lambda_proto_client_field(lambda_proto_runtime_client(handle.get()), field, &value,
                                        &length));
        return {value == nullptr ? "" : value, length};
    }

    void respond(std::string_view body, std::string_view type = "application/json") {
        check(lambda_proto_runtime_respond(handle.get(), type.data(), type.size(), body.data(),
                                           body.size(), 0));
    }

    Stream stream(std::string_view type) { return {handle.get(), type}; }

    /// Reports that the invocation failed. After the answer, this does nothing but warn.
    void fail(std::string_view type, std::string_view message) {
        const std::int32_t code = lambda_proto_runtime_fail(
            handle.get(), type.data(), type.size(), message.data(), message.size(), nullptr, 0,
            nullptr, 0);
        if (code != LAMBDA_PROTO_ERROR_PHASE) check(code);
    }

    /// Calls the handler for every event, until the session ends with an Error. What the handler
    /// throws becomes the error of its invocation.
    template <typename Handler> [[noreturn]] void run(Handler &&handler) {
        for (;;) {
            const std::string_view event = next();
            try {
                handler(*this, event);
            } catch (const Error &error) {
                if (error.is_over()) throw;
                // The caller has gone; that ends the stream, not the runtime.
                if (error.code != LAMBDA_PROTO_ERROR_STREAM_OVER)
                    fail("Function.WrongCall", error.what());
            } catch (const Failure &failure) {
                fail(failure.type, failure.what());
            } catch (const std::exception &error) {
                fail("Function.Exception", error.what());
            } catch (...) {
                fail("Function.Exception", "an exception that is not a std::exception");
            }
        }
    }

private:
    struct Close {
        void operator()(lambda_proto_runtime *runtime) const { lambda_proto_runtime_close(runtime); }
    };
    std::unique_ptr<lambda_proto_runtime, Close> handle;
};

} // namespace lambda_proto
