#define _POSIX_C_SOURCE 200809L
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0
#endif

enum { MAX_ATTEMPT_MS = 2000, UNTIL_A_LOOK_MS = 500 };

/* All memory for events and requests: a larger event is reported as an error of its invocation. */
static uint8_t events[LAMBDA_PROTO_MAX_PAYLOAD + 2 * LAMBDA_PROTO_MAX_HEAD];
static uint8_t requests[4096];

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int32_t loop_open(struct loop *loop)
{
    const char *address = getenv("AWS_LAMBDA_RUNTIME_API");
    void *client = malloc(lambda_proto_client_size()), *outage = malloc(lambda_proto_outage_size());
    int32_t code;

    memset(loop, 0, sizeof *loop);
    loop->fd = -1;
    if (address == NULL)
        address = "";
    code = lambda_proto_outage_init(outage, lambda_proto_outage_size());
    if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_client_init(client, lambda_proto_client_size(),
                                        address, strlen(address), NULL, 0, 1);
    if (code < 0) {
        fprintf(stderr, "AWS_LAMBDA_RUNTIME_API: %s\n", lambda_proto_error_text(code));
        free(client);
        free(outage);
        return code;
    }
    loop->client = client;
    loop->outage = outage;
    lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_EVENTS, events, sizeof events);
    lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_REQUESTS, requests,
                                    sizeof requests);
    return lambda_proto_client_set_max_event(client, LAMBDA_PROTO_MAX_PAYLOAD);
}

static void hang_up(struct loop *loop)
{
    if (loop->fd < 0)
        return;
    close(loop->fd);
    loop->fd = -1;
    if (!loop->is_connecting)
        lambda_proto_outage_lost(loop->outage, now_ms());
    loop->is_connecting = 0;
}

static void forget_addresses(struct loop *loop)
{
    if (loop->addresses != NULL)
        freeaddrinfo(loop->addresses);
    loop->addresses = loop->address = NULL;
}

void loop_close(struct loop *loop)
{
    hang_up(loop);
    forget_addresses(loop);
    if (loop->client != NULL)
        lambda_proto_client_close(loop->client);
    free(loop->client);
    free(loop->outage);
}

/* Looks up the host; Lambda's is a number, so that this does not wait. 0 or an errno. */
static int look_up(struct loop *loop)
{
    struct addrinfo hints = {0};
    char port[8];

    snprintf(port, sizeof port, "%d", (int)lambda_proto_client_port(loop->client) & 0xffff);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(lambda_proto_client_host(loop->client), port, &hints, &loop->addresses) != 0) {
        loop->addresses = NULL;
        return EHOSTUNREACH;
    }
    loop->address = loop->addresses;
    return 0;
}

/* Begins to connect to the next address of the host; 0 or an errno. */
static int begin_to_connect(struct loop *loop)
{
    const struct addrinfo *address;
    int error = 0, one = 1;

    if (loop->address == NULL)
        error = look_up(loop);
    if (error != 0)
        return error;
    address = loop->address;
    loop->address = address->ai_next;
    loop->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (loop->fd < 0) {
        error = errno;
    } else {
        loop->connection++;
        loop->is_connecting = 1;
        fcntl(loop->fd, F_SETFD, FD_CLOEXEC);
        fcntl(loop->fd, F_SETFL, O_NONBLOCK);
        setsockopt(loop->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(loop->fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
            error = errno;
    }
    return error;
}

static enum loop_state wait_for(struct loop *loop, short poll_events, int timeout_ms)
{
    loop->events = poll_events;
    loop->timeout_ms = timeout_ms;
    return LOOP_WAIT;
}

/* Whether the connection was made; -1 while it is neither made nor refused. `*reason` is an errno. */
static int has_connected(struct loop *loop, int *reason)
{
    struct pollfd ready = {loop->fd, POLLOUT, 0};
    int error = 0;
    socklen_t length = sizeof error;

    if (poll(&ready, 1, 0) <= 0) {
        *reason = ETIMEDOUT;
        return now_ms() - loop->tried_ms > MAX_ATTEMPT_MS ? 0 : -1;
    }
    if (getsockopt(loop->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        error = errno;
    *reason = error;
    return error == 0;
}

/* One attempt after another, each after a pause; 1 if there is nothing to wait for. */
static int reach(struct loop *loop, enum loop_state *state)
{
    uint64_t now = now_ms(), lasted = 0;
    int connected, reason = 0;

    if (!loop->is_connecting) {
        /* Only the first address waits. */
        if (loop->due_ms == 0 && loop->address == NULL)
            loop->due_ms = now + (uint64_t)lambda_proto_client_backoff_ms(
                loop->client, loop->failed, (uint32_t)now * 2654435761u);
        if (now < loop->due_ms) {
            *state = wait_for(loop, 0, (int)(loop->due_ms - now));
            return 0;
        }
        loop->due_ms = 0;
        loop->tried_ms = now;
        reason = begin_to_connect(loop);
        connected = reason == 0 ? -1 : 0;
    } else {
        connected = has_connected(loop, &reason);
    }
    if (connected < 0) {
        *state = wait_for(loop, POLLOUT, MAX_ATTEMPT_MS);
        return 0;
    }
    if (connected) {
        loop->is_connecting = 0;
        loop->failed = 0;
        forget_addresses(loop);
        lambda_proto_outage_connected(loop->outage);
        lambda_proto_client_connected(loop->client);
        return 1;
    }
    hang_up(loop);
    if (loop->address != NULL)
        return 1;
    forget_addresses(loop);
    if (loop->failed++ == 0)
        fprintf(stderr, "no connection to the Runtime API: %s\n", strerror(reason));
    lambda_proto_outage_failed(loop->outage, loop->tried_ms);
    lambda_proto_outage_lasted_ms(loop->outage, now_ms(), &lasted);
    if (lasted >= LAMBDA_PROTO_PATIENCE_MS) {
        fprintf(stderr, "%s\n", lambda_proto_error_text(LAMBDA_PROTO_ERROR_UNREACHABLE));
        *state = LOOP_OVER;
        return 0;
    }
    return 1;
}

/* Whether the service has refused the answer that is being written. */
static int is_refused(int fd)
{
    char beginning[LAMBDA_PROTO_EARLY_REPLY];
    ssize_t length = recv(fd, beginning, sizeof beginning, MSG_PEEK);

    return length < 0 ? errno != EAGAIN && errno != EINTR
                      : lambda_proto_refuses_early(beginning, (size_t)length);
}

/* Writes what it can; 1 if there is nothing to wait for. */
static int write_some(struct loop *loop, enum loop_state *state)
{
    const uint8_t *parts[3];
    size_t lengths[3];
    struct iovec slices[3];
    struct msghdr message = {0};
    ssize_t written;
    int index, count = lambda_proto_client_unsent(loop->client, parts, lengths);

    for (index = 0; index < count; index++) {
        slices[index].iov_base = (void *)(uintptr_t)parts[index];
        slices[index].iov_len = lengths[index];
    }
    message.msg_iov = slices;
    message.msg_iovlen = (size_t)count;
    written = sendmsg(loop->fd, &message, MSG_NOSIGNAL);
    if (written > 0)
        lambda_proto_client_sent(loop->client, (size_t)written);
    else if (written < 0 && errno == EAGAIN && !is_refused(loop->fd)) {
        /* Looks for an early refusal now and then. */
        *state = wait_for(loop, POLLOUT, UNTIL_A_LOOK_MS);
        return 0;
    } else if (written == 0 || errno != EINTR)
        lambda_proto_client_write_failed(loop->client);
    return 1;
}

/* Reads what there is; 1 if there is nothing to wait for. */
static int read_some(struct loop *loop, enum loop_state *state)
{
    uint8_t *room;
    size_t length;
    ssize_t read;

    if (lambda_proto_client_room(loop->client, &room, &length) < 0)
        return 1; /* the next step says why */
    read = recv(loop->fd, room, length, 0);
    if (read >= 0)
        lambda_proto_client_received(loop->client, (size_t)read);
    else if (errno == EAGAIN) {
        *state = wait_for(loop, POLLIN, -1);
        return 0;
    } else if (errno != EINTR)
        lambda_proto_client_lost(loop->client);
    return 1;
}

enum loop_state loop_advance(struct loop *loop)
{
    enum loop_state state = LOOP_WAIT;
    const char *text;
    size_t length;
    int goes_on = 1;

    while (goes_on) {
        int32_t step = lambda_proto_client_step(loop->client);
        if (loop->fd >= 0 && !loop->is_connecting
            && !lambda_proto_client_is_connected(loop->client))
            hang_up(loop);
        switch (step) {
        case LAMBDA_PROTO_STEP_CONNECT:
            goes_on = reach(loop, &state);
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            goes_on = write_some(loop, &state);
            break;
        case LAMBDA_PROTO_STEP_READ:
            goes_on = read_some(loop, &state);
            break;
        case LAMBDA_PROTO_STEP_WARNING:
            lambda_proto_client_warning(loop->client, &text, &length);
            fprintf(stderr, "%.*s\n", (int)length, text);
            break;
        case LAMBDA_PROTO_STEP_IDLE:
            lambda_proto_client_ask(loop->client);
            break;
        case LAMBDA_PROTO_STEP_ANSWER:
            return LOOP_ANSWER;
        case LAMBDA_PROTO_STEP_SETTLED:
            break;
        default:
            if (lambda_proto_client_end(loop->client, &text, &length) > 0)
                fprintf(stderr, "%.*s\n", (int)length, text);
            return LOOP_OVER;
        }
    }
    return state;
}
