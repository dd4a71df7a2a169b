// A function in C++ that fails in a way that its event, a number, chooses. The test is
// verify/interop/tests/capi/users.rs.
#include "../users/cpp/runtime.hpp"

static void answer(lambda_proto::Runtime &runtime, std::string_view event) {
    if (event == "1") throw 42;
    if (event == "2") throw lambda_proto::Failure("Function.AsAsked", "not text: \xff");
    if (event == "3") {
        runtime.respond(event);
        throw std::runtime_error("too late");
    }
    if (event == "4") runtime.respond(event, "no\ntype");
    runtime.respond(event);
}

int main() {
    lambda_proto::Runtime().run(answer);
}
