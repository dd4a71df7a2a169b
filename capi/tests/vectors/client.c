/* The function that the vectors for clients require, on layer one: all slots in one thread, in a loop
 * around poll(2). */
#define _POSIX_C_SOURCE 200809L
#include "act.h"

#include <lambda_proto.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TEXT(literal) (literal), sizeof(literal) - 1
#define NONE NULL, 0

enum { EVENT_LIMIT = 16 * 1024 * 1024, FIRST_MEMORY = 4096, WAIT_TO_BEGIN_ANEW_MS = 1000 };

enum waiting { FOR_NOTHING, FOR_TIME, FOR_CONNECTION, FOR_WRITING, FOR_READING };

struct slot {
    lambda_proto_client *client;
    void *memories[3];
    int socket;
    enum waiting waiting;
    uint64_t due;     /* FOR_TIME */
    uint64_t began;   /* the attempt to connect */
    uint32_t failed;
    int is_connecting;
    int looked;       /* a reply has begun that does not refuse the answer */
    int has_ended;
    struct act act;
    int has_act;
    size_t piece;
    char *body;
};

static lambda_proto_outage *outage;
static size_t slot_count = 1;
static int may_restore;

static void die(const char *what)
{
    fprintf(stderr, "client: %s\n", what);
    exit(1);
}

/* Ends the process for a code that only a mistake in this program causes. */
static int32_t checked(int32_t code)
{
    if (code < 0)
        die(lambda_proto_error_name(code));
    return code;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- memory */

/* Gives the client the memory that it needs; without memory it has to do with what it has. */
static void grow(struct slot *slot)
{
    int32_t kind;

    for (kind = LAMBDA_PROTO_MEMORY_EVENTS; kind <= LAMBDA_PROTO_MEMORY_REQUESTS; kind++) {
        size_t needed = 0;
        void *memory;

        checked(lambda_proto_client_memory_needed(slot->client, kind, &needed));
        if (needed == 0)
            continue;
        memory = malloc(needed);
        if (memory == NULL) {
            checked(lambda_proto_client_set_max_memory(slot->client, kind, 0));
            continue;
        }
        checked(lambda_proto_client_give_memory(slot->client, kind, memory, needed));
        free(slot->memories[kind]);
        slot->memories[kind] = memory;
    }
}

/* Runs a command again until it has its memory. */
#define GROWING(slot, code, call)                                                                  \
    do {                                                                                           \
        (code) = (call);                                                                           \
        if ((code) == LAMBDA_PROTO_ERROR_MEMORY)                                                   \
            grow(slot);                                                                            \
    } while ((code) == LAMBDA_PROTO_ERROR_MEMORY)

static void open_slot(struct slot *slot)
{
    const char *address = getenv("AWS_LAMBDA_RUNTIME_API");
    int32_t kind;
    int32_t code;

    if (address == NULL)
        die(lambda_proto_error_text(LAMBDA_PROTO_ERROR_ENVIRONMENT));
    slot->socket = -1;
    slot->client = malloc(lambda_proto_client_size());
    code = lambda_proto_client_init(slot->client, lambda_proto_client_size(), address,
                                    strlen(address), NONE, slot_count);
    if (code < 0)
        die(lambda_proto_error_text(code));
    checked(lambda_proto_client_set_max_memory(slot->client, LAMBDA_PROTO_MEMORY_EVENTS,
                                               EVENT_LIMIT + LAMBDA_PROTO_MAX_HEAD));
    checked(lambda_proto_client_set_max_memory(slot->client, LAMBDA_PROTO_MEMORY_REQUESTS,
                                               4 * LAMBDA_PROTO_MAX_REQUEST_MEMORY));
    checked(lambda_proto_client_set_max_event(slot->client, EVENT_LIMIT));
    for (kind = LAMBDA_PROTO_MEMORY_EVENTS; kind <= LAMBDA_PROTO_MEMORY_REQUESTS; kind++) {
        slot->memories[kind] = malloc(FIRST_MEMORY);
        checked(lambda_proto_client_give_memory(slot->client, kind, slot->memories[kind],
                                                FIRST_MEMORY));
    }
}

/* ---- the function */

static void end_act(struct slot *slot)
{
    if (slot->has_act)
        act_free(&slot->act);
    slot->has_act = 0;
    slot->piece = 0;
    free(slot->body);
    slot->body = NULL;
}

static void fail_as(struct slot *slot, const char *type, size_t type_length, const char *message,
                    size_t message_length, const char *trace, size_t trace_length)
{
    int32_t code;

    GROWING(slot, code,
            lambda_proto_client_fail(slot->client, type, type_length, message, message_length,
                                     trace, trace_length, NONE));
    checked(code);
}

static void fail(struct slot *slot)
{
    const struct act *act = &slot->act;

    fail_as(slot, act->error_type.data, act->error_type.length, act->message.data,
            act->message.length, act->stack_trace.data, act->stack_trace.length);
}

/* Fails the invocation if the function has given an unusable content type. */
static void check_answer(struct slot *slot, int32_t code)
{
    const char *text = lambda_proto_error_text(code);

    if (code == LAMBDA_PROTO_ERROR_CONTENT_TYPE)
        fail_as(slot, TEXT("Function.Error"), text, strlen(text), NONE);
    else
        checked(code);
}

static void respond(struct slot *slot, struct act_text type, const void *body, size_t length)
{
    int32_t code;

    GROWING(slot, code,
            lambda_proto_client_respond(slot->client, type.data, type.length, body, length, 0));
    check_answer(slot, code);
}

static void describe(struct slot *slot)
{
    const struct act_text json = {(char *)"application/json", 16};
    struct act_text text = act_describe(slot->client);

    slot->body = text.data;
    respond(slot, json, text.data, text.length);
}

static void begin(struct slot *slot)
{
    const struct act_text none = {NULL, 0};
    const uint8_t *event;
    size_t length;
    int32_t code;

    checked(lambda_proto_client_event(slot->client, &event, &length));
    act_read(&slot->act, event, length);
    slot->has_act = 1;
    switch (slot->act.kind) {
    case ACT_ECHO:
        /* The answer is the event itself, which is not copied. */
        respond(slot, none, event, length);
        break;
    case ACT_DESCRIBE:
        describe(slot);
        break;
    case ACT_FAIL:
    case ACT_PANIC:
        fail(slot);
        break;
    case ACT_ANSWER:
        slot->body = malloc(slot->act.bytes + 1);
        if (slot->body == NULL)
            die("no memory");
        memset(slot->body, 'a', slot->act.bytes);
        respond(slot, slot->act.has_content_type ? slot->act.content_type : none, slot->body,
                slot->act.bytes);
        break;
    case ACT_STREAM:
        GROWING(slot, code,
                lambda_proto_client_stream(slot->client, slot->act.content_type.data,
                                           slot->act.content_type.length));
        check_answer(slot, code);
        break;
    }
}

static void answer(struct slot *slot)
{
    int32_t code;

    if (checked(lambda_proto_client_is_streaming(slot->client)) == 0) {
        begin(slot);
    } else if (slot->piece < slot->act.piece_count) {
        const struct act_text *piece = &slot->act.pieces[slot->piece++];

        GROWING(slot, code, lambda_proto_client_chunk(slot->client, piece->data, piece->length));
        /* The service has replied early: the next step says what follows. */
        if (code != LAMBDA_PROTO_ERROR_RECONNECT)
            checked(code);
    } else if (slot->act.fails) {
        fail(slot);
    } else {
        GROWING(slot, code, lambda_proto_client_finish(slot->client, 0));
        if (code != LAMBDA_PROTO_ERROR_RECONNECT)
            checked(code);
    }
}

static int is_snapshot(void)
{
    const char *type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");

    return type != NULL && strcmp(type, "snap-start") == 0;
}

/* What the client does when nothing is outstanding. */
static void go_on(struct slot *slot)
{
    int32_t code;

    if (may_restore == 1) {
        may_restore = 2;
        if (act_is_told_to_fail("CONFORMANCE_BEFORE_SNAPSHOT")) {
            GROWING(slot, code,
                    lambda_proto_client_fail_init(slot->client, TEXT("Runtime.BeforeSnapshotError"),
                                                  TEXT("it was to fail"), NONE, NONE));
        } else {
            GROWING(slot, code, lambda_proto_client_restore_next(slot->client));
        }
    } else if (may_restore == 2 && act_is_told_to_fail("CONFORMANCE_AFTER_RESTORE")) {
        may_restore = 0;
        GROWING(slot, code,
                lambda_proto_client_fail_restore(slot->client, TEXT("Runtime.AfterRestoreError"),
                                                 TEXT("it was to fail"), NONE, NONE));
    } else {
        may_restore = 0;
        GROWING(slot, code, lambda_proto_client_ask(slot->client));
    }
    checked(code);
}

/* ---- the socket */

static void hang_up(struct slot *slot)
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

static void connect_step(struct slot *slot)
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

static void write_step(struct slot *slot)
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

static void read_step(struct slot *slot)
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

/* ---- the loop */

static void end_step(struct slot *slot)
{
    const char *text;
    size_t length;
    int32_t end = checked(lambda_proto_client_end(slot->client, &text, &length));

    if (slot->waiting == FOR_TIME) {
        slot->waiting = FOR_NOTHING;
        checked(lambda_proto_client_begin_anew(slot->client));
        return;
    }
    fprintf(stderr, "client: %.*s\n", (int)length, text);
    end_act(slot);
    hang_up(slot);
    if (end == LAMBDA_PROTO_END_PROTOCOL && slot_count > 1) {
        slot->waiting = FOR_TIME;
        slot->due = now_ms() + WAIT_TO_BEGIN_ANEW_MS;
        return;
    }
    slot->has_ended = 1;
}

static void settled_step(struct slot *slot)
{
    int has_panicked = slot->has_act && slot->act.kind == ACT_PANIC;

    end_act(slot);
    if (has_panicked)
        die("panicked");
}

/* Does what the client asks for until it would block. */
static void advance(struct slot *slot)
{
    const char *text;
    size_t length;

    do {
        if (slot->waiting == FOR_WRITING || slot->waiting == FOR_READING)
            slot->waiting = FOR_NOTHING;
        switch (checked(lambda_proto_client_step(slot->client))) {
        case LAMBDA_PROTO_STEP_CONNECT:
            connect_step(slot);
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            write_step(slot);
            break;
        case LAMBDA_PROTO_STEP_READ:
            read_step(slot);
            break;
        case LAMBDA_PROTO_STEP_IDLE:
            go_on(slot);
            break;
        case LAMBDA_PROTO_STEP_ANSWER:
            answer(slot);
            break;
        case LAMBDA_PROTO_STEP_SETTLED:
            settled_step(slot);
            break;
        case LAMBDA_PROTO_STEP_WARNING:
            checked(lambda_proto_client_warning(slot->client, &text, &length));
            fprintf(stderr, "client: %.*s\n", (int)length, text);
            break;
        case LAMBDA_PROTO_STEP_END:
            end_step(slot);
            break;
        default:
            die("an unknown step");
        }
    } while (slot->waiting == FOR_NOTHING && !slot->has_ended);
}

static short interest(const struct slot *slot)
{
    switch (slot->waiting) {
    case FOR_CONNECTION:
        return POLLOUT;
    case FOR_WRITING:
        return slot->looked ? POLLOUT : POLLOUT | POLLIN;
    case FOR_READING:
        return POLLIN;
    default:
        return 0;
    }
}

/* Whether every slot that is still running may stop. */
static int may_stop(const struct slot *slots)
{
    size_t index;

    for (index = 0; index < slot_count; index++)
        if (!slots[index].has_ended && lambda_proto_client_may_stop(slots[index].client) != 1)
            return 0;
    return 1;
}

static void close_slots(struct slot *slots)
{
    size_t index;

    for (index = 0; index < slot_count; index++) {
        end_act(&slots[index]);
        hang_up(&slots[index]);
        checked(lambda_proto_client_close(slots[index].client));
        free(slots[index].client);
        free(slots[index].memories[LAMBDA_PROTO_MEMORY_EVENTS]);
        free(slots[index].memories[LAMBDA_PROTO_MEMORY_REQUESTS]);
    }
    free(slots);
    free(outage);
}

/* Runs the slots until one of them ends and the others have answered. */
static void run(struct slot *slots)
{
    struct pollfd *polled = calloc(slot_count, sizeof *polled);
    int is_ending = 0;
    size_t index;

    for (index = 0; index < slot_count; index++)
        if (!slots[index].has_ended)
            advance(&slots[index]);
    for (;;) {
        uint64_t now = now_ms(), due = UINT64_MAX;

        for (index = 0; index < slot_count; index++) {
            const struct slot *slot = &slots[index];

            is_ending |= slot->has_ended;
            polled[index].fd = interest(slot) != 0 ? slot->socket : -1;
            polled[index].events = interest(slot);
            polled[index].revents = 0;
            if (slot->waiting == FOR_TIME && slot->due < due)
                due = slot->due;
        }
        if (is_ending && may_stop(slots))
            break;
        if (poll(polled, slot_count, due == UINT64_MAX ? -1 : due > now ? (int)(due - now) : 0) < 0
            && errno != EINTR)
            die("poll has failed");
        now = now_ms();
        for (index = 0; index < slot_count; index++) {
            struct slot *slot = &slots[index];

            if (polled[index].revents != 0 || (slot->waiting == FOR_TIME && slot->due <= now))
                advance(slot);
        }
    }
    free(polled);
}

int main(void)
{
    const char *concurrency = getenv("AWS_LAMBDA_MAX_CONCURRENCY");
    struct slot *slots;
    size_t index;

    if (lambda_proto_abi_version() != LAMBDA_PROTO_ABI_VERSION)
        die("another version of the library");
    if (concurrency != NULL
        && lambda_proto_slots(concurrency, strlen(concurrency), &slot_count) < 0)
        die("AWS_LAMBDA_MAX_CONCURRENCY is not a number");
    outage = malloc(lambda_proto_outage_size());
    checked(lambda_proto_outage_init(outage, lambda_proto_outage_size()));
    slots = calloc(slot_count, sizeof *slots);
    for (index = 0; index < slot_count; index++)
        open_slot(&slots[index]);
    if (act_is_told_to_fail("CONFORMANCE_START")) {
        int32_t code;

        /* One slot reports it, and the others ask for nothing. */
        for (index = 1; index < slot_count; index++)
            slots[index].has_ended = 1;
        GROWING(slots, code,
                lambda_proto_client_fail_init(slots->client, TEXT("Function.NoStart"),
                                              TEXT("it was to fail"), NONE, NONE));
        checked(code);
    } else {
        may_restore = is_snapshot();
    }
    run(slots);
    close_slots(slots);
    return 1;
}
