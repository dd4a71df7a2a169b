/* A bootstrap over layer one in a libuv loop, beside whatever else the loop runs: a uv_poll_t for
 * the socket and a uv_timer_t for pauses. */
#define _POSIX_C_SOURCE 200809L
#include "function.h"
#include "loop.h"

#include <stdio.h>
#include <uv.h>

struct bootstrap {
    struct loop loop;
    uv_poll_t *socket;   /* NULL: none */
    unsigned connection; /* the one that `socket` watches */
    uv_timer_t timer;
    int exit_code;
};

static void advance(struct bootstrap *bootstrap);

static void finish(struct bootstrap *bootstrap);

/* Whether libuv can go on; if not, the bootstrap is over. */
static int can_go_on(struct bootstrap *bootstrap, int status)
{
    if (status >= 0)
        return 1;
    fprintf(stderr, "bootstrap: %s\n", uv_strerror(status));
    finish(bootstrap);
    return 0;
}

static void on_socket(uv_poll_t *handle, int status, int events)
{
    /* A negative status, such as UV_EBADF for a refused connection, is an error of the socket, which
     * the next call on it returns. */
    (void)status;
    (void)events;
    advance(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    advance(handle->data);
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

/* Stops watching before the loop closes the socket, as libuv demands. */
static void stop_waiting(struct bootstrap *bootstrap)
{
    uv_timer_stop(&bootstrap->timer);
    if (bootstrap->socket != NULL)
        uv_poll_stop(bootstrap->socket);
}

static void forget_socket(struct bootstrap *bootstrap)
{
    if (bootstrap->socket != NULL)
        uv_close((uv_handle_t *)bootstrap->socket, free_handle);
    bootstrap->socket = NULL;
}

/* Ends the loop, whatever else it runs. */
static void finish(struct bootstrap *bootstrap)
{
    forget_socket(bootstrap);
    if (!uv_is_closing((uv_handle_t *)&bootstrap->timer))
        uv_close((uv_handle_t *)&bootstrap->timer, NULL);
    bootstrap->exit_code = 1;
    uv_stop(uv_default_loop());
}

static void start_waiting(struct bootstrap *bootstrap)
{
    const struct loop *loop = &bootstrap->loop;
    int status = 0;
    int events = (loop->events & POLLIN ? UV_READABLE : 0)
        | (loop->events & POLLOUT ? UV_WRITABLE : 0);

    if (loop->timeout_ms >= 0)
        status = uv_timer_start(&bootstrap->timer, on_timer, (uint64_t)loop->timeout_ms, 0);
    if (!can_go_on(bootstrap, status))
        return;
    if (loop->fd < 0 || loop->connection != bootstrap->connection)
        forget_socket(bootstrap);
    if (loop->fd < 0)
        return;
    if (bootstrap->socket == NULL) {
        bootstrap->socket = malloc(sizeof *bootstrap->socket);
        if (bootstrap->socket == NULL)
            abort();
        status = uv_poll_init(uv_default_loop(), bootstrap->socket, loop->fd);
        if (status < 0) {
            free(bootstrap->socket); /* libuv does not know it */
            bootstrap->socket = NULL;
            (void)can_go_on(bootstrap, status);
            return;
        }
        bootstrap->socket->data = bootstrap;
        bootstrap->connection = loop->connection;
    }
    (void)can_go_on(bootstrap, uv_poll_start(bootstrap->socket, events, on_socket));
}

static void advance(struct bootstrap *bootstrap)
{
    int32_t code;

    stop_waiting(bootstrap);
    for (;;) {
        switch (loop_advance(&bootstrap->loop)) {
        case LOOP_ANSWER:
            code = answer(bootstrap->loop.client);
            /* After RECONNECT the service accepts no more of the stream, as the next step says. */
            if (code < 0 && code != LAMBDA_PROTO_ERROR_RECONNECT)
                fprintf(stderr, "bootstrap: %s\n", lambda_proto_error_text(code));
            else
                break;
            /* fall through */
        case LOOP_OVER:
            finish(bootstrap);
            return;
        case LOOP_WAIT:
            start_waiting(bootstrap);
            return;
        }
    }
}

int main(void)
{
    static struct bootstrap bootstrap;

    if (loop_open(&bootstrap.loop) < 0)
        return 1;
    if (uv_timer_init(uv_default_loop(), &bootstrap.timer) < 0)
        return 1;
    bootstrap.timer.data = &bootstrap;
    advance(&bootstrap);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT); /* what was closed before the stop is freed */
    loop_close(&bootstrap.loop);
    return bootstrap.exit_code;
}
