// A function for aws-lambda-cpp: it returns its event, or fails as the event says.
#include <aws/lambda-runtime/runtime.h>

#include <stdexcept>

using aws::lambda_runtime::invocation_request;
using aws::lambda_runtime::invocation_response;

static invocation_response handler(const invocation_request &request)
{
    if (request.payload == "\"fail\"")
        return invocation_response::failure("the event asks for it", "Function.AsAsked");
    if (request.payload == "\"throw\"")
        throw std::runtime_error("the event asks for it");
    return invocation_response::success(request.payload, "application/json");
}

int main()
{
    aws::lambda_runtime::run_handler(handler);
    return 1; // it returns if there are no more invocations
}
