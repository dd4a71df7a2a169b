/* The session: what the client asks for, until that is a matter of the program. */
#include "blocking.h"

int32_t blocking_settle(lambda_proto_runtime *runtime)
{
    int32_t step = blocking_pump(runtime, RETRY);

    if (step < 0)
        return step;
    /* If the slot starts over, next() does that. */
    if (step == LAMBDA_PROTO_STEP_END && !blocking_may_begin_anew(runtime))
        return blocking_ended(runtime);
    return LAMBDA_PROTO_OK;
}

int32_t blocking_finish_report(lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;
    int32_t step;

    do
        step = blocking_pump(runtime, RETRY);
    while (step == LAMBDA_PROTO_STEP_SETTLED);
    if (step < 0)
        return step;
    if (lambda_proto_client_end(runtime->client, &text, &length) == LAMBDA_PROTO_END_DONE)
        return LAMBDA_PROTO_OK;
    return blocking_ended(runtime);
}

int blocking_may_begin_anew(const lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;

    return runtime->slots > 1
        && lambda_proto_client_end(runtime->client, &text, &length) == LAMBDA_PROTO_END_PROTOCOL;
}

int32_t blocking_ended(lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;
    int32_t end = lambda_proto_client_end(runtime->client, &text, &length);

    blocking_hang_up(runtime);
    if (end > 0 && end != LAMBDA_PROTO_END_DONE)
        blocking_log(runtime, "%.*s", (int)length, text);
    return LAMBDA_PROTO_ERROR_ENDED;
}

static int32_t give_up_session(lambda_proto_runtime *runtime, int32_t code);

int32_t blocking_pump(lambda_proto_runtime *runtime, enum interruption interruption)
{
    lambda_proto_client *client = runtime->client;
    const char *text;
    size_t length;
    int32_t step, code;

    for (;;) {
        code = LAMBDA_PROTO_OK;
        step = lambda_proto_client_step(client);
        /* The client may have given up the connection in this step. Close it before another one is
         * made, or the service would count two. */
        if (runtime->socket >= 0 && !lambda_proto_client_is_connected(client))
            blocking_hang_up(runtime);
        switch (step) {
        case LAMBDA_PROTO_STEP_CONNECT:
            code = blocking_reach(runtime, interruption);
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            code = blocking_write(runtime);
            break;
        case LAMBDA_PROTO_STEP_READ:
            code = blocking_read(runtime, interruption);
            break;
        case LAMBDA_PROTO_STEP_WARNING:
            if (lambda_proto_client_warning(client, &text, &length) > 0)
                blocking_log(runtime, "%.*s", (int)length, text);
            break;
        default:
            return step;
        }
        if (code == LAMBDA_PROTO_ERROR_INTERRUPTED)
            return code;
        if (code < 0)
            return give_up_session(runtime, code);
    }
}

/* Ends the session because of an error. The client must not use the body of an answer any more,
 * which is the program's again. */
static int32_t give_up_session(lambda_proto_runtime *runtime, int32_t code)
{
    const char *text;
    size_t length;
    int32_t step;

    blocking_hang_up(runtime);
    (void)lambda_proto_client_shut_down(runtime->client);
    do {
        step = lambda_proto_client_step(runtime->client);
        if (step == LAMBDA_PROTO_STEP_WARNING
            && lambda_proto_client_warning(runtime->client, &text, &length) > 0)
            blocking_log(runtime, "%.*s", (int)length, text);
    } while (step == LAMBDA_PROTO_STEP_WARNING || step == LAMBDA_PROTO_STEP_SETTLED);
    return code;
}

int blocking_is_interrupted(const lambda_proto_runtime *runtime, enum interruption interruption)
{
    return interruption == RETURN && runtime->is_signalled
        && (lambda_proto_client_is_waiting(runtime->client) == 1
            || lambda_proto_client_may_stop(runtime->client) == 1);
}
