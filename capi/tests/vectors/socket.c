/* The socket of a slot, which never blocks. */
#define _POSIX_C_SOURCE 200809L
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

lambda_proto_outage *outage;

void hang_up(struct slot *slot)
{
    if (slot->socket < 0)
        return;
    close(slot->socket);
    slot->socket = -1;
    if (!slot->is_connecting)
        checked(lambda_proto_outage_lost(outage, now_ms()));
    slot->is_connecting = 0;
    slot->looked = 0;
}

static void connected(struct slot *slot)
{
    slot->is_connecting = 0;
    slot->failed = 0;
    checked(lambda_proto_outage_connected(outage));
    checked(lambda_proto_client_connected(slot->client));
}

static void not_connected(struct slot *slot)
{
    uint64_t lasted = 0;

    hang_up(slot);
    slot->failed++;
    checked(lambda_proto_outage_failed(outage, slot->began));
    checked(lambda_proto_outage_lasted_ms(outage, now_ms(), &lasted));
    if (lasted >= LAMBDA_PROTO_PATIENCE_MS)
        die(lambda_proto_error_text(LAMBDA_PROTO_ERROR_UNREACHABLE));
}

/* Begins to connect; the address is one of this machine, so looking it up does not take long. */
static void begin_to_connect(struct slot *slot)
{
    struct addrinfo hints, *addresses = NULL;
    char port[16];
    const int on = 1;

    slot->began = now_ms();
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    sprintf(port, "%d", (int)checked(lambda_proto_client_port(slot->client)));
    if (getaddrinfo(lambda_proto_client_host(slot->client), port, &hints, &addresses) != 0) {
        not_connected(slot);
        return;
    }
    slot->socket = socket(addresses->ai_family, SOCK_STREAM, 0);
    if (slot->socket < 0)
        die("no socket");
    slot->is_connecting = 1;
    fcntl(slot->socket, F_SETFD, FD_CLOEXEC);
    fcntl(slot->socket, F_SETFL, O_NONBLOCK);
    setsockopt(slot->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(slot->socket, addresses->ai_addr, addresses->ai_addrlen) == 0)
        connected(slot);
    else if (errno == EINPROGRESS)
        slot->waiting = FOR_CONNECTION;
    else
        not_connected(slot);
    freeaddrinfo(addresses);
}

void connect_step(struct slot *slot)
{
    if (slot->waiting == FOR_CONNECTION) {
        int error = 0;
        socklen_t length = sizeof error;

        slot->waiting = FOR_NOTHING;
        if (getsockopt(slot->socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
            connected(slot);
        else
            not_connected(slot);
    } else if (slot->waiting == FOR_TIME) {
        slot->waiting = FOR_NOTHING;
        begin_to_connect(slot);
    } else {
        hang_up(slot);
        slot->due = now_ms()
                    + (uint64_t)checked(lambda_proto_client_backoff_ms(slot->client, slot->failed,
                                                                       (uint32_t)rand()));
        slot->waiting = FOR_TIME;
    }
}

void write_step(struct slot *slot)
{
    const uint8_t *parts[3];
    size_t lengths[3];
    struct iovec slices[3];
    struct msghdr message;
    ssize_t written;
    int index, count = (int)checked(lambda_proto_client_unsent(slot->client, parts, lengths));

    for (index = 0; index < count; index++) {
        slices[index].iov_base = (void *)parts[index];
        slices[index].iov_len = lengths[index];
    }
    memset(&message, 0, sizeof message);
    message.msg_iov = slices;
    message.msg_iovlen = (size_t)count;
    written = sendmsg(slot->socket, &message, MSG_NOSIGNAL);
    if (written > 0) {
        checked(lambda_proto_client_sent(slot->client, (size_t)written));
    } else if (written < 0 && (errno == EAGAIN || errno == EINTR)) {
        char beginning[LAMBDA_PROTO_EARLY_REPLY];
        ssize_t length = recv(slot->socket, beginning, sizeof beginning, MSG_PEEK);

        slot->looked = length > 0;
        if (length >= 0 && lambda_proto_refuses_early(beginning, (size_t)length) == 1)
            checked(lambda_proto_client_write_failed(slot->client));
        else
            slot->waiting = FOR_WRITING;
    } else {
        checked(lambda_proto_client_write_failed(slot->client));
    }
}

void read_step(struct slot *slot)
{
    uint8_t *room;
    size_t length;
    ssize_t count;
    int32_t code;

    GROWING(slot, code, lambda_proto_client_room(slot->client, &room, &length));
    if (code == LAMBDA_PROTO_ERROR_ROOM)
        return;
    checked(code);
    count = recv(slot->socket, room, length, 0);
    if (count >= 0)
        checked(lambda_proto_client_received(slot->client, (size_t)count));
    else if (errno == EAGAIN || errno == EINTR)
        slot->waiting = FOR_READING;
    else
        checked(lambda_proto_client_lost(slot->client));
}
