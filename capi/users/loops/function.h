/* The function of both loops: returns the event, or does what "fail", "stream" and "exit" ask for.
 */
#ifndef FUNCTION_H
#define FUNCTION_H

#include <lambda_proto.h>

#include <stdlib.h>
#include <string.h>

#define TEXT(literal) (literal), sizeof(literal) - 1

static int is(const uint8_t *event, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(event, text, length) == 0;
}

/* Answers the invocation in flight, or continues its stream. Nothing is copied, so all that is sent
 * stays where it is until the next step. */
static int32_t answer(lambda_proto_client *client)
{
    static const char *const lines[] = {"one\n", "two\n"};
    static size_t next_line;
    const uint8_t *event;
    size_t length;

    if (lambda_proto_client_is_streaming(client) == 1) {
        if (next_line == sizeof lines / sizeof *lines)
            return lambda_proto_client_finish(client, 0);
        next_line++;
        return lambda_proto_client_chunk(client, lines[next_line - 1],
                                         strlen(lines[next_line - 1]));
    }
    if (lambda_proto_client_event(client, &event, &length) < 0)
        return LAMBDA_PROTO_ERROR_PHASE;
    if (is(event, length, "\"fail\""))
        return lambda_proto_client_fail(client, TEXT("Function.AsAsked"),
                                        TEXT("the event asks for it"), NULL, 0, NULL, 0);
    if (is(event, length, "\"stream\"")) {
        next_line = 0;
        return lambda_proto_client_stream(client, TEXT("text/plain"));
    }
    if (is(event, length, "\"exit\""))
        exit(3);
    return lambda_proto_client_respond(client, TEXT("application/json"), event, length, 0);
}

#endif
