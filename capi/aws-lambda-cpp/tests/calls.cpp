// Makes the calls that its arguments name, and writes a line about each; see
// verify/interop/tests/aws_clients/class.rs. Parts of an argument are separated by '|'.
#include <aws/lambda-runtime/runtime.h>
#include <aws/lambda-runtime/version.h>

#include <atomic>
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace aws::lambda_runtime;
using aws::http::response_code;

static std::vector<std::string> split(const std::string &argument)
{
    std::vector<std::string> parts;
    std::size_t at = 0, end;
    while ((end = argument.find('|', at)) != std::string::npos) {
        parts.push_back(argument.substr(at, end - at));
        at = end + 1;
    }
    parts.push_back(argument.substr(at));
    return parts;
}

/// Larger allocations fail.
static std::atomic<std::size_t> largest_allocation(SIZE_MAX);

void *operator new(std::size_t size)
{
    void *memory = size <= largest_allocation ? std::malloc(size == 0 ? 1 : size) : nullptr;
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}

// Where it were inlined, GCC would take free() for the wrong counterpart of new.
__attribute__((noinline)) void operator delete(void *memory) noexcept { std::free(memory); }

__attribute__((noinline)) void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

static std::string repeated(const std::string &text, int times)
{
    std::string all;
    for (int count = 0; count < times; count++)
        all += text;
    return all;
}

static void say(const char *what, const std::string &result)
{
    std::printf("%s %s\n", what, result.c_str());
    std::fflush(stdout);
}

static std::string told(response_code code) { return std::to_string(static_cast<int>(code)); }

static void posted(const char *what, const runtime::post_outcome &outcome)
{
    say(what, outcome.is_success() ? "ok" : told(outcome.get_failure()));
}

static void next(runtime &client, const char *what)
{
    const runtime::next_outcome outcome = client.get_next();
    if (!outcome.is_success())
        return say(what, told(outcome.get_failure()));
    const invocation_request &request = outcome.get_result();
    say(what, "ok " + request.request_id + " " + request.invocation_id + " " + request.payload);
}

static void check(bool is_so, const char *what)
{
    if (!is_so) {
        say("wrong:", what);
        std::exit(1);
    }
}

/// What needs no service.
static void facts()
{
    const invocation_response failure =
        invocation_response::failure("a \"quoted\"\n\x01 caf\xc3\xa9 \xff", "Function.Broken");
    check(failure.get_payload()
              == "{\"errorMessage\":\"a \\\"quoted\\\"\\u000a\\u0001 caf\xc3\xa9 \xef\xbf\xbd\","
                 "\"errorType\":\"Function.Broken\",\"stackTrace\":[]}",
          "failure");
    check(!failure.is_success() && failure.get_content_type() == "application/json", "its type");
    check(invocation_response::success("1", "a/b").is_success(), "success");

    using text_or_number = outcome<std::string, int>;
    text_or_number text(std::string(100, 'a')), copy(text), moved(std::move(copy)), number(7);
    check(moved.get_result() == text.get_result() && !number.is_success(), "outcome");
    check(number.get_failure() == 7, "its failure");

    aws::http::response response;
    response.add_header("X-A", "1");
    response.append_body("abc", 2);
    response.set_response_code(response_code::GONE);
    check(response.has_header("x-a") && response.get_header("X-a") == "1", "header");
    check(!response.has_header("x") && response.get_header("x").empty(), "no header");
    check(response.get_body() == "ab" && response.get_response_code() == response_code::GONE, "body");

    check(static_cast<int>(response_code::IM_A_TEAPOT) == 418
              && static_cast<int>(response_code::INSUFFICIENT_STORAGE) == 507
              && static_cast<int>(response_code::NETWORK_CONNECT_TIMEOUT) == 599,
          "statuses");
    check(std::is_convertible<std::string, const runtime &>::value, "an endpoint is a runtime");

    char version[32];
    std::snprintf(version, sizeof version, "%u.%u.%u", get_version_major(), get_version_minor(),
                  get_version_patch());
    check(std::strncmp(version, get_version(), std::strlen(version)) == 0, "version");

    invocation_request request;
    request.deadline = std::chrono::system_clock::now() + std::chrono::hours(1);
    const auto left = request.get_time_remaining();
    check(left <= std::chrono::hours(1) && left > std::chrono::minutes(1), "time remaining");
    say("facts", "ok");
}

/// Answers in one dialect or the other.
static void answer(runtime &client, const invocation_request &request, bool says_attempt)
{
    if (request.payload == "\"fail\"")
        client.post_failure(request.request_id,
                            invocation_response::failure("as asked", "Function.AsAsked"));
    else if (says_attempt)
        client.post_success(request.request_id,
                            invocation_response::success(request.payload, "application/json"),
                            request.invocation_id);
    else
        client.post_success(request.request_id,
                            invocation_response::success(request.payload, "application/json"));
}

/// Asks and answers until there are no more invocations. Every second answer is given by another
/// thread, while this one asks; some are for an invocation that there is not.
static void serve(runtime &client)
{
    std::thread other;
    for (unsigned round = 0;; round++) {
        const runtime::next_outcome outcome = client.get_next();
        if (other.joinable())
            other.join();
        if (!outcome.is_success())
            return;
        const invocation_request request = outcome.get_result();
        if (round % 8 == 0)
            client.post_success("x", invocation_response::success("1", "application/json"));
        if (round % 2 == 0)
            answer(client, request, round % 4 == 0);
        else
            other = std::thread([&client, request, round] { answer(client, request, round % 4 == 1); });
    }
}

int main(int count, char **arguments)
{
    const char *address = std::getenv("AWS_LAMBDA_RUNTIME_API");
    runtime client(address == nullptr ? "" : address, "calls/1");
    std::vector<std::thread> threads;
    for (int index = 1; index < count; index++) {
        const std::vector<std::string> parts = split(arguments[index]);
        const char *call = parts[0].c_str();
        const auto is = [&](const char *name) { return parts[0] == name; };
        if (is("facts"))
            facts();
        else if (is("next"))
            next(client, call);
        else if (is("thread"))
            threads.emplace_back([&client] { next(client, "thread"); });
        else if (is("serve")) // number of threads
            for (int number = std::stoi(parts[1]); number > 0; number--)
                threads.emplace_back([&client] { serve(client); });
        else if (is("join"))
            while (!threads.empty()) {
                threads.back().join();
                threads.pop_back();
            }
        else if (is("success")) // id, body
            posted(call, client.post_success(parts[1], invocation_response::success(parts[2], "a/b")));
        else if (is("success3")) // id, attempt, body
            posted(call, client.post_success(parts[1], invocation_response::success(parts[3], "a/b"),
                                             parts[2]));
        else if (is("typed")) // id, content type
            posted(call, client.post_success(parts[1], invocation_response::success("1", parts[2])));
        else if (is("large")) // id, length
            posted(call, client.post_success(parts[1], invocation_response::success(
                                                           std::string(std::stoul(parts[2]), 'e'), "a/b")));
        else if (is("failure")) // id, report
            posted(call, client.post_failure(
                             parts[1], invocation_response(parts[2], "application/json", false, "{}")));
        else if (is("failure3")) // id, attempt, report
            posted(call, client.post_failure(
                             parts[1], invocation_response(parts[3], "application/json", false, ""),
                             parts[2]));
        else if (is("long")) // id, times
            posted(call, client.post_failure(
                             parts[1],
                             invocation_response("{\"trace\":[" + repeated("\"frame\",", std::stoi(parts[2]))
                                                     + "[{}]],\"errorType\":\"A.B\",\"errorMessage\":\"\\u00e9\\ud83e\\udd80\"}",
                                                 "application/json", false, "")));
        else if (is("memory")) // the largest allocation
            largest_allocation = std::stoul(parts[1]);
        else if (is("starved")) { // id, length of the report, the largest allocation
            const invocation_response report(std::string(std::stoul(parts[2]), 'e'),
                                             "application/json", false, "");
            largest_allocation = std::stoul(parts[3]);
            posted(call, client.post_failure(parts[1], report));
            largest_allocation = SIZE_MAX;
        } else if (is("init")) // report
            posted(call, client.post_init_error(runtime_response(parts[1], "application/json", "")));
        else if (is("handler")) { // content type
            run_handler([&](const invocation_request &request) {
                return invocation_response::success(request.payload, parts[1]);
            });
            say(call, "returned");
        } else if (is("fork")) {
            const pid_t child = fork();
            int status = 1;
            if (child > 0) {
                while (waitpid(child, &status, 0) < 0)
                    ;
                // What follows is the child's.
                std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
            }
        } else {
            std::fprintf(stderr, "calls: %s: no such call\n", call);
            return 2;
        }
    }
    return 0;
}
