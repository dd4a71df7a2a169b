/* The memory of the client. */
#include "blocking.h"

#include <stdlib.h>

int32_t blocking_set_limits(lambda_proto_runtime *runtime)
{
    size_t events = PTRDIFF_MAX;
    int32_t code;

    /* Room for the event, its head, and what was read past it. */
    if (runtime->max_event <= PTRDIFF_MAX - 2 * LAMBDA_PROTO_MAX_HEAD)
        events = runtime->max_event + 2 * LAMBDA_PROTO_MAX_HEAD;
    runtime->is_short = 0;
    code = lambda_proto_client_set_max_memory(runtime->client, LAMBDA_PROTO_MEMORY_EVENTS, events);
    if (code < 0)
        return code;
    return lambda_proto_client_set_max_memory(runtime->client, LAMBDA_PROTO_MEMORY_REQUESTS,
                                              LAMBDA_PROTO_MAX_REQUEST_MEMORY);
}

/* Gives the client memory of one kind, if it needs any. If there is none, the client goes on with
 * what it has until next(). Returns whether anything has changed. */
static int grow_kind(lambda_proto_runtime *runtime, int32_t kind, void **memory)
{
    size_t needed = 0;
    void *larger;

    if (lambda_proto_client_memory_needed(runtime->client, kind, &needed) < 0 || needed == 0)
        return 0;
    /* Layer one reads only what it has written, but its slices must be initialised. */
    larger = calloc(1, needed);
    if (larger == NULL
        || lambda_proto_client_give_memory(runtime->client, kind, larger, needed) < 0) {
        free(larger);
        runtime->is_short = 1;
        return lambda_proto_client_set_max_memory(runtime->client, kind, 0) >= 0;
    }
    free(*memory);
    *memory = larger;
    return 1;
}

int blocking_grow(lambda_proto_runtime *runtime)
{
    int has_changed = grow_kind(runtime, LAMBDA_PROTO_MEMORY_EVENTS, &runtime->events);

    return grow_kind(runtime, LAMBDA_PROTO_MEMORY_REQUESTS, &runtime->requests) || has_changed;
}
