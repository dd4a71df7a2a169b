// A bootstrap in C++. Its function returns the event; "fail", "stream" and "exit" show the rest.
#include "runtime.hpp"

#include <cstdlib>
#include <iostream>

static void answer(lambda_proto::Runtime &runtime, std::string_view event) {
    if (event == "\"fail\"") throw lambda_proto::Failure("Function.AsAsked", "the event asks for it");
    if (event == "\"stream\"") return runtime.stream("text/plain").write("one\n").write("two\n").finish();
    if (event == "\"exit\"") std::exit(3);
    runtime.respond(event);
}

int main() {
    try {
        lambda_proto::Runtime().run(answer);
    } catch (const std::exception &error) {
        std::cerr << "bootstrap: " << error.what() << '\n';
        return 1;
    }
}
