/* A bootstrap in C over layer two. Its function returns the event; "fail", "stream" and "exit" show
 * the rest. */
#include <lambda_proto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A literal and its length, for functions that take both. */
#define TEXT(literal) (literal), sizeof(literal) - 1
#define NONE NULL, 0

static int is(const uint8_t *event, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(event, text, length) == 0;
}

static int32_t count(lambda_proto_runtime *runtime)
{
    int32_t code = lambda_proto_runtime_stream_begin(runtime, TEXT("text/plain"));
    if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_runtime_stream_write(runtime, TEXT("one\n"));
    if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_runtime_stream_write(runtime, TEXT("two\n"));
    if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_runtime_stream_end(runtime, 0);
    /* The caller has gone. That ends the stream, not the runtime. */
    return code == LAMBDA_PROTO_ERROR_STREAM_OVER ? LAMBDA_PROTO_OK : code;
}

static int32_t answer(lambda_proto_runtime *runtime, const uint8_t *event, size_t length)
{
    if (is(event, length, "\"fail\""))
        return lambda_proto_runtime_fail(runtime, TEXT("Function.AsAsked"),
                                         TEXT("the event asks for it"), NONE, NONE);
    if (is(event, length, "\"stream\""))
        return count(runtime);
    if (is(event, length, "\"exit\""))
        exit(3);
    return lambda_proto_runtime_respond(runtime, TEXT("application/json"), event, length, 0);
}

int main(void)
{
    lambda_proto_runtime *runtime = NULL;
    const uint8_t *event;
    size_t length;
    int32_t code = lambda_proto_runtime_open(&runtime, NONE, NONE, 1);

    while (code == LAMBDA_PROTO_OK) {
        code = lambda_proto_runtime_next(runtime, &event, &length);
        if (code == LAMBDA_PROTO_OK)
            code = answer(runtime, event, length);
    }
    fprintf(stderr, "bootstrap: %s\n", lambda_proto_error_text(code));
    lambda_proto_runtime_close(runtime);
    return 1;
}
