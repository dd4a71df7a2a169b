/* Reaching the service: attempts to connect, the pauses between them, and when to give up. */
#include "blocking.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    /* Lost connections in a row after which one line says so. */
    LOSSES_TO_LOG = 3
};

/* Why the last attempt to connect has failed. */
static const char *last_reason(const lambda_proto_runtime *runtime, char *room, size_t length)
{
    if (runtime->last_lookup != 0 && runtime->last_lookup != EAI_SYSTEM)
        return gai_strerror(runtime->last_lookup);
    if (strerror_r(runtime->last_errno, room, length) != 0)
        snprintf(room, length, "error %d", runtime->last_errno);
    return room;
}

/* Sleeps until the next attempt to connect is due, or the patience ends; -1 if a signal handler has
 * run before that and the call ends for it. */
static int await_attempt(lambda_proto_runtime *runtime, enum interruption interruption)
{
    struct timespec pause;
    uint64_t now, left;

    for (;;) {
        if (blocking_is_interrupted(runtime, interruption))
            return -1;
        now = blocking_now_ms();
        left = blocking_patience_left(runtime);
        if (now >= runtime->due_ms || left == 0)
            return 0;
        if (left > runtime->due_ms - now)
            left = runtime->due_ms - now;
        pause.tv_sec = (time_t)(left / 1000);
        pause.tv_nsec = (long)(left % 1000) * 1000000;
        if (nanosleep(&pause, NULL) < 0 && errno == EINTR)
            runtime->is_signalled = 1;
    }
}

int32_t blocking_reach(lambda_proto_runtime *runtime, enum interruption interruption)
{
    lambda_proto_client *client = runtime->client;
    const char *host = lambda_proto_client_host(client);
    int port = (int)lambda_proto_client_port(client);
    uint64_t tried, left;
    enum failure failure;
    char room[128];
    int32_t wait;
    int is_news;

    blocking_hang_up(runtime);
    if (runtime->due_ms == 0) {
        runtime->began_ms = blocking_now_ms();
        if (lambda_proto_client_losses(client) == LOSSES_TO_LOG)
            blocking_log(runtime, "the Runtime API at %s port %d keeps closing the connection before "
                                  "sending an invocation; backing off", host, port);
    }
    for (;;) {
        if (runtime->due_ms == 0) {
            wait = lambda_proto_client_backoff_ms(client, runtime->failed, blocking_random(runtime));
            runtime->due_ms = blocking_now_ms() + (wait < 0 ? 0 : (uint64_t)wait);
        }
        if (await_attempt(runtime, interruption) < 0)
            return LAMBDA_PROTO_ERROR_INTERRUPTED;
        runtime->due_ms = 0;
        tried = blocking_now_ms();
        left = blocking_patience_left(runtime);
        runtime->socket = blocking_connect(runtime, left > 0 ? left : 1, &runtime->last_errno);
        if (runtime->socket >= 0) {
            if (blocking_outage_connected(runtime))
                blocking_log(runtime, "connected to the Runtime API at %s port %d after %lu.%lu s",
                             host, port,
                             (unsigned long)((blocking_now_ms() - runtime->began_ms) / 1000),
                             (unsigned long)((blocking_now_ms() - runtime->began_ms) % 1000 / 100));
            runtime->failed = 0;
            return lambda_proto_client_connected(client);
        }
        failure = blocking_outage_failed(runtime, tried, &is_news);
        if (is_news)
            blocking_log(runtime, "no connection to the Runtime API at %s port %d%s: %s%s", host, port,
                         failure == GIVE_UP ? ", giving up" : "",
                         last_reason(runtime, room, sizeof room),
                         failure == GIVE_UP ? "" : "; trying again");
        if (failure == GIVE_UP)
            return LAMBDA_PROTO_ERROR_UNREACHABLE;
        if (runtime->failed < UINT32_MAX)
            runtime->failed++;
    }
}
