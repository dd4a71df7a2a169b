/* The socket: connecting, writing and reading once. */
#include "blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS has SO_NOSIGPIPE */
#endif

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0 /* macOS: fcntl() is as near as one gets */
#endif

enum {
    /* How long one attempt to connect may take, so that one address leaves time for the others. */
    MAX_ATTEMPT_MS = 2000,
    /* How long a write waits for room before it looks for an early refusal. */
    UNTIL_A_LOOK_MS = 500
};

/* ---- Connecting ----------------------------------------------------------------------------- */

/* Sets what the loop relies on; 0 or an errno. */
static int set_options(int fd)
{
    static const struct timeval until_a_look = {0, UNTIL_A_LOOK_MS * 1000};
    const int on = 1;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &until_a_look, sizeof until_a_look) < 0)
        return errno;
#ifdef SO_NOSIGPIPE
    if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) < 0)
        return errno;
#endif
    return 0;
}

/* Waits until the connection is made or refused; 0 or an errno. */
static int await_connection(lambda_proto_runtime *runtime, int fd, uint64_t timeout_ms)
{
    struct pollfd waiting = {fd, POLLOUT, 0};
    uint64_t until = blocking_now_ms() + timeout_ms, now;
    int ready, error = 0;
    socklen_t length = sizeof error;

    for (;;) {
        now = blocking_now_ms();
        ready = poll(&waiting, 1, now < until ? (int)(until - now) : 0);
        if (ready > 0)
            break;
        if (ready == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
        runtime->is_signalled = 1;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

/* Connects to one address; returns the socket, or -1 and writes an errno. */
static int connect_to(lambda_proto_runtime *runtime, const struct addrinfo *address,
                      uint64_t timeout_ms, int *error)
{
    /* Programs that the function starts must not keep the connection open. */
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);

    if (fd < 0) {
        *error = errno;
        return -1;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        *error = errno;
    else if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        *error = 0;
    else if (errno == EINPROGRESS || errno == EINTR)
        *error = await_connection(runtime, fd, timeout_ms);
    else
        *error = errno;
    if (*error == 0)
        *error = set_options(fd);
    if (*error == 0)
        return fd;
    close(fd);
    return -1;
}

int blocking_connect(lambda_proto_runtime *runtime, uint64_t timeout_ms, int *error)
{
    const lambda_proto_client *client = runtime->client;
    struct addrinfo hints, *addresses, *address;
    char port[16];
    int code, fd = -1;

    snprintf(port, sizeof port, "%d", (int)lambda_proto_client_port(client));
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    code = getaddrinfo(lambda_proto_client_host(client), port, &hints, &addresses);
    runtime->last_lookup = code;
    if (code != 0) {
        *error = code == EAI_SYSTEM ? errno : code == EAI_MEMORY ? ENOMEM : EHOSTUNREACH;
        return -1;
    }
    if (timeout_ms > MAX_ATTEMPT_MS)
        timeout_ms = MAX_ATTEMPT_MS;
    *error = EHOSTUNREACH;
    for (address = addresses; address != NULL && fd < 0; address = address->ai_next)
        fd = connect_to(runtime, address, timeout_ms, error);
    freeaddrinfo(addresses);
    return fd;
}

void blocking_hang_up(lambda_proto_runtime *runtime)
{
    if (runtime->socket < 0)
        return;
    close(runtime->socket);
    runtime->socket = -1;
    blocking_outage_lost(runtime);
}

/* ---- Writing and reading -------------------------------------------------------------------- */

/* Whether the service has replied with a refusal, or closed the connection, while a write waits. */
static int is_refused(int fd)
{
    char beginning[LAMBDA_PROTO_EARLY_REPLY];
    ssize_t peeked;

    do
        peeked = recv(fd, beginning, sizeof beginning, MSG_PEEK | MSG_DONTWAIT);
    while (peeked < 0 && errno == EINTR);
    if (peeked < 0)
        return errno != EAGAIN && errno != EWOULDBLOCK;
    return lambda_proto_refuses_early(beginning, (size_t)peeked) == 1;
}

int32_t blocking_write(lambda_proto_runtime *runtime)
{
    const uint8_t *parts[3];
    size_t lengths[3];
    struct iovec slices[3];
    struct msghdr message;
    ssize_t written;
    int index, count;

    count = lambda_proto_client_unsent(runtime->client, parts, lengths);
    for (index = 0; index < count; index++) {
        slices[index].iov_base = (void *)(uintptr_t)parts[index]; /* sendmsg() only reads it */
        slices[index].iov_len = lengths[index];
    }
    memset(&message, 0, sizeof message);
    message.msg_iov = slices;
    message.msg_iovlen = count < 0 ? 0 : count;
    written = sendmsg(runtime->socket, &message, MSG_NOSIGNAL);
    if (written > 0)
        return lambda_proto_client_sent(runtime->client, (size_t)written);
    if (written < 0 && errno == EINTR) {
        runtime->is_signalled = 1;
        return LAMBDA_PROTO_OK;
    }
    /* Another connection would not help: the body of the answer cannot be read, or the system has
     * no memory. */
    if (written < 0 && (errno == EFAULT || errno == EINVAL || errno == ENOMEM)) {
        runtime->last_errno = errno;
        return LAMBDA_PROTO_ERROR_SYSTEM;
    }
    /* After UNTIL_A_LOOK_MS: write again, unless the service will not read it. */
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !is_refused(runtime->socket))
        return LAMBDA_PROTO_OK;
    return lambda_proto_client_write_failed(runtime->client);
}

int32_t blocking_read(lambda_proto_runtime *runtime, enum interruption interruption)
{
    uint8_t *room;
    size_t length;
    ssize_t read;
    int32_t code;

    if (blocking_is_interrupted(runtime, interruption))
        return LAMBDA_PROTO_ERROR_INTERRUPTED;
    WITH_MEMORY(runtime, code, lambda_proto_client_room(runtime->client, &room, &length));
    if (code == LAMBDA_PROTO_ERROR_ROOM)
        return LAMBDA_PROTO_OK; /* the next step says why */
    if (code < 0)
        return code;
    read = recv(runtime->socket, room, length, 0);
    if (read >= 0)
        return lambda_proto_client_received(runtime->client, (size_t)read);
    if (errno != EINTR)
        return lambda_proto_client_lost(runtime->client);
    runtime->is_signalled = 1;
    return LAMBDA_PROTO_OK; /* the step comes again */
}
