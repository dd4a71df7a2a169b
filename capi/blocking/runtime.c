/*
 * Layer two of lambda_proto.h: a client of layer one with a blocking socket and memory from
 * malloc(). C99 and POSIX, no global state. Layer one knows the protocol; these files know sockets,
 * memory and the clock. It is the loop of lambda_proto::driver and lambda-proto-std, in C.
 */
#include "blocking.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    /* Memory at first, in bytes. Layer one wants more for events than for requests. */
    FIRST_EVENTS = 8192,
    FIRST_REQUESTS = LAMBDA_PROTO_REQUEST_MEMORY,
    /* The largest event unless set, as in the runtimes in Rust. */
    MAX_EVENT = 16 * 1024 * 1024,
    /* How long a slot pauses before it starts over. */
    ANEW_MS = 1000
};

/* ---- Open and close ------------------------------------------------------------------------- */

int32_t lambda_proto_runtime_open(lambda_proto_runtime **runtime,
                                  const char *address, size_t address_length,
                                  const char *user_agent, size_t user_agent_length,
                                  size_t slots)
{
    lambda_proto_runtime *new_runtime;
    void *client;
    int32_t code;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (address == NULL) {
        if (address_length != 0)
            return LAMBDA_PROTO_ERROR_NULL;
        address = getenv("AWS_LAMBDA_RUNTIME_API");
        if (address == NULL)
            return LAMBDA_PROTO_ERROR_ENVIRONMENT;
        address_length = strlen(address);
    }
    new_runtime = calloc(1, sizeof *new_runtime);
    if (new_runtime == NULL)
        return LAMBDA_PROTO_ERROR_SYSTEM;
    new_runtime->slots = slots;
    new_runtime->patience_ms = LAMBDA_PROTO_PATIENCE_MS;
    new_runtime->socket = -1;
    new_runtime->log = STDERR_FILENO;
    client = malloc(lambda_proto_client_size());
    new_runtime->outage = blocking_outage_new();
    new_runtime->events = calloc(1, FIRST_EVENTS);
    new_runtime->requests = calloc(1, FIRST_REQUESTS);
    if (client == NULL || new_runtime->outage == NULL || new_runtime->events == NULL
        || new_runtime->requests == NULL) {
        free(client);
        lambda_proto_runtime_close(new_runtime);
        errno = ENOMEM;
        return LAMBDA_PROTO_ERROR_SYSTEM;
    }
    code = lambda_proto_client_init(client, lambda_proto_client_size(), address, address_length,
                                    user_agent, user_agent_length, slots);
    if (code < 0) {
        free(client);
        lambda_proto_runtime_close(new_runtime);
        return code;
    }
    new_runtime->client = client;
    code = lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_EVENTS,
                                           new_runtime->events, FIRST_EVENTS);
    if (code >= 0)
        code = lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_REQUESTS,
                                               new_runtime->requests, FIRST_REQUESTS);
    if (code >= 0)
        code = lambda_proto_runtime_set_max_event(new_runtime, MAX_EVENT);
    if (code < 0) {
        lambda_proto_runtime_close(new_runtime);
        return code;
    }
    *runtime = new_runtime;
    return LAMBDA_PROTO_OK;
}

void lambda_proto_runtime_close(lambda_proto_runtime *runtime)
{
    if (runtime == NULL)
        return;
    blocking_hang_up(runtime);
    if (runtime->client != NULL)
        lambda_proto_client_close(runtime->client);
    free(runtime->client);
    blocking_outage_leave(runtime);
    free(runtime->events);
    free(runtime->requests);
    free(runtime);
}

int32_t lambda_proto_runtime_set_max_event(lambda_proto_runtime *runtime, size_t bytes)
{
    int32_t code;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    code = lambda_proto_client_set_max_event(runtime->client, bytes);
    if (code < 0)
        return code;
    runtime->max_event = bytes;
    return blocking_set_limits(runtime);
}

int32_t lambda_proto_runtime_set_patience_ms(lambda_proto_runtime *runtime, uint32_t ms)
{
    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    runtime->patience_ms = ms;
    return LAMBDA_PROTO_OK;
}

int32_t lambda_proto_runtime_log(lambda_proto_runtime *runtime, int32_t descriptor)
{
    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    runtime->log = descriptor;
    return LAMBDA_PROTO_OK;
}

const lambda_proto_client *lambda_proto_runtime_client(const lambda_proto_runtime *runtime)
{
    return runtime == NULL ? NULL : runtime->client;
}

int32_t lambda_proto_runtime_errno(const lambda_proto_runtime *runtime)
{
    return runtime == NULL ? LAMBDA_PROTO_ERROR_NULL : runtime->last_errno;
}

/* ---- Invocations ---------------------------------------------------------------------------- */

int32_t lambda_proto_runtime_next(lambda_proto_runtime *runtime,
                                  const uint8_t **event, size_t *length)
{
    int32_t step, code;

    if (runtime == NULL || event == NULL || length == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (runtime->is_restoring)
        return LAMBDA_PROTO_ERROR_PHASE;
    runtime->is_stream_over = 0;
    runtime->is_signalled = 0;
    WITH_MEMORY(runtime, code, lambda_proto_client_give_up(runtime->client));
    if (code < 0)
        return code;
    for (;;) {
        /* There may be memory again, for another event. */
        if (runtime->is_short && lambda_proto_client_may_stop(runtime->client) == 1)
            (void)blocking_set_limits(runtime);
        step = blocking_pump(runtime, RETURN);
        switch (step) {
        case LAMBDA_PROTO_STEP_ANSWER:
            return lambda_proto_client_event(runtime->client, event, length);
        case LAMBDA_PROTO_STEP_IDLE:
            WITH_MEMORY(runtime, code, lambda_proto_client_ask(runtime->client));
            if (code < 0)
                return code;
            break;
        case LAMBDA_PROTO_STEP_SETTLED:
            break;
        case LAMBDA_PROTO_STEP_END:
            if (!blocking_may_begin_anew(runtime))
                return blocking_ended(runtime);
            (void)blocking_ended(runtime);
            if (blocking_sleep_ms(ANEW_MS) < 0)
                runtime->is_signalled = 1;
            code = lambda_proto_client_begin_anew(runtime->client);
            if (code < 0)
                return code;
            break;
        default:
            return step;
        }
    }
}

int32_t lambda_proto_runtime_respond(lambda_proto_runtime *runtime,
                                     const char *content_type, size_t content_type_length,
                                     const void *body, size_t body_length, int32_t pipelined)
{
    int32_t code;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    WITH_MEMORY(runtime, code,
                lambda_proto_client_respond(runtime->client, content_type, content_type_length,
                                            body, body_length, pipelined));
    return code < 0 ? code : blocking_settle(runtime);
}

int32_t lambda_proto_runtime_stream_begin(lambda_proto_runtime *runtime,
                                          const char *content_type, size_t content_type_length)
{
    int32_t code;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    WITH_MEMORY(runtime, code, lambda_proto_client_stream(runtime->client, content_type,
                                                          content_type_length));
    return code;
}

int32_t lambda_proto_runtime_stream_write(lambda_proto_runtime *runtime,
                                          const void *piece, size_t length)
{
    int32_t code, step;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (runtime->is_stream_over)
        return LAMBDA_PROTO_ERROR_STREAM_OVER;
    WITH_MEMORY(runtime, code, lambda_proto_client_chunk(runtime->client, piece, length));
    /* The service has begun to reply; the steps say what follows. */
    if (code < 0 && code != LAMBDA_PROTO_ERROR_RECONNECT)
        return code;
    step = blocking_pump(runtime, RETRY);
    if (step == LAMBDA_PROTO_STEP_ANSWER && code >= 0)
        return LAMBDA_PROTO_OK;
    if (step < 0)
        return step;
    if (step == LAMBDA_PROTO_STEP_END && !blocking_may_begin_anew(runtime))
        return blocking_ended(runtime);
    runtime->is_stream_over = 1;
    return LAMBDA_PROTO_ERROR_STREAM_OVER;
}

int32_t lambda_proto_runtime_stream_end(lambda_proto_runtime *runtime, int32_t pipelined)
{
    int32_t code;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (runtime->is_stream_over)
        return LAMBDA_PROTO_ERROR_STREAM_OVER;
    WITH_MEMORY(runtime, code, lambda_proto_client_finish(runtime->client, pipelined));
    if (code < 0 && code != LAMBDA_PROTO_ERROR_RECONNECT)
        return code;
    return blocking_settle(runtime);
}

int32_t lambda_proto_runtime_fail(lambda_proto_runtime *runtime,
                                  const char *type, size_t type_length,
                                  const char *message, size_t message_length,
                                  const char *trace, size_t trace_length,
                                  const char *cause, size_t cause_length)
{
    const struct text texts[] = {{type, type_length}, {message, message_length},
                                 {trace, trace_length}, {cause, cause_length}};
    int32_t code = blocking_report(runtime, lambda_proto_client_fail, texts);

    return code < 0 ? code : blocking_settle(runtime);
}

/* ---- Before the first invocation ------------------------------------------------------------ */

int32_t lambda_proto_runtime_fail_init(lambda_proto_runtime *runtime,
                                       const char *type, size_t type_length,
                                       const char *message, size_t message_length,
                                       const char *trace, size_t trace_length,
                                       const char *cause, size_t cause_length)
{
    const struct text texts[] = {{type, type_length}, {message, message_length},
                                 {trace, trace_length}, {cause, cause_length}};
    int32_t code = blocking_report(runtime, lambda_proto_client_fail_init, texts);

    return code < 0 ? code : blocking_finish_report(runtime);
}

int32_t lambda_proto_runtime_restore_next(lambda_proto_runtime *runtime)
{
    int32_t code, step;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (!runtime->is_restoring) {
        WITH_MEMORY(runtime, code, lambda_proto_client_restore_next(runtime->client));
        if (code < 0)
            return code;
    }
    runtime->is_signalled = 0;
    step = blocking_pump(runtime, RETURN);
    runtime->is_restoring = step == LAMBDA_PROTO_ERROR_INTERRUPTED;
    if (step < 0)
        return step;
    return step == LAMBDA_PROTO_STEP_END ? blocking_ended(runtime) : LAMBDA_PROTO_OK;
}

int32_t lambda_proto_runtime_fail_restore(lambda_proto_runtime *runtime,
                                          const char *type, size_t type_length,
                                          const char *message, size_t message_length,
                                          const char *trace, size_t trace_length,
                                          const char *cause, size_t cause_length)
{
    const struct text texts[] = {{type, type_length}, {message, message_length},
                                 {trace, trace_length}, {cause, cause_length}};
    int32_t code = blocking_report(runtime, lambda_proto_client_fail_restore, texts);

    return code < 0 ? code : blocking_finish_report(runtime);
}
