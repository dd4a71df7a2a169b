/*
 * Layer two of lambda_proto.h: a client of layer one with a blocking socket and memory from
 * malloc(). C99 and POSIX, no global state. Layer one knows the protocol; this file knows sockets,
 * memory and the clock. It is the loop of lambda_proto::driver and lambda-proto-std, in C.
 *
 *  next, respond, …    commands to the client, then pump() until it asks for something else
 *  pump()              connects, writes, reads and logs as the client's steps say
 *  reach()             connects again, with pauses, until the patience ends
 *  grow()              gives the client more memory when it asks for it
 */
#define _POSIX_C_SOURCE 200809L
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#endif

#include "lambda_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS has SO_NOSIGPIPE */
#endif

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0 /* macOS: fcntl() is as near as one gets */
#endif

enum {
    /* Memory at first, in bytes. Layer one wants more for events than for requests. */
    FIRST_EVENTS = 8192,
    FIRST_REQUESTS = LAMBDA_PROTO_REQUEST_MEMORY,
    /* The largest event unless set, as in the runtimes in Rust. */
    MAX_EVENT = 16 * 1024 * 1024,
    /* How long one attempt to connect may take, so that one address leaves time for the others. */
    MAX_ATTEMPT_MS = 2000,
    /* How long a write waits for room before it looks for an early refusal. */
    UNTIL_A_LOOK_MS = 500,
    /* How long a slot pauses before it starts over. */
    ANEW_MS = 1000,
    /* Lost connections in a row after which one line says so. */
    LOSSES_TO_LOG = 3
};

struct lambda_proto_runtime {
    lambda_proto_client *client;
    lambda_proto_outage *outage;
    void *events, *requests;
    size_t slots;
    size_t max_event;
    uint64_t patience_ms;
    int socket; /* -1: not connected */
    int log;
    int last_errno;
    int last_lookup; /* why the name of the host was not resolved, as from getaddrinfo(), or 0 */
    uint32_t failed;    /* attempts to connect in a row */
    uint64_t due_ms;    /* when the next attempt is due; 0: none is planned */
    uint64_t began_ms;  /* when the first of them was planned */
    int is_signalled;   /* a signal handler has run during this call, and it has not been returned */
    int is_restoring;   /* restore_next() was interrupted */
    int is_stream_over; /* the service has ended the stream, and the program does not know yet */
    int is_short;       /* there was no memory, and the client goes on with what it has */
};

/* Whether pump() returns when a signal handler has run. */
enum interruption { RETRY, RETURN };

struct text {
    const char *start;
    size_t length;
};

/* A command of the client that sends a report: type, message, trace and cause. */
typedef int32_t report_function(lambda_proto_client *client, const char *type, size_t type_length,
                                const char *message, size_t message_length,
                                const char *trace, size_t trace_length,
                                const char *cause, size_t cause_length);

static int32_t pump(lambda_proto_runtime *runtime, enum interruption interruption);
static int32_t settle(lambda_proto_runtime *runtime);
static int32_t finish_report(lambda_proto_runtime *runtime);
static int32_t report(lambda_proto_runtime *runtime, report_function *send,
                      const struct text texts[4]);
static int32_t ended(lambda_proto_runtime *runtime);
static int may_begin_anew(const lambda_proto_runtime *runtime);
static int grow(lambda_proto_runtime *runtime);
static int32_t set_limits(lambda_proto_runtime *runtime);
static void hang_up(lambda_proto_runtime *runtime);
static void log_line(const lambda_proto_runtime *runtime, const char *format, ...);
static int sleep_ms(uint64_t ms);

/* Calls a command of the client until it has the memory that it needs. */
#define WITH_MEMORY(runtime, code, call) \
    do \
        (code) = (call); \
    while ((code) == LAMBDA_PROTO_ERROR_MEMORY && grow(runtime))

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
    new_runtime->outage = malloc(lambda_proto_outage_size());
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
    code = lambda_proto_outage_init(new_runtime->outage, lambda_proto_outage_size());
    if (code >= 0)
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
    hang_up(runtime);
    if (runtime->client != NULL)
        lambda_proto_client_close(runtime->client);
    free(runtime->client);
    free(runtime->outage);
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
    return set_limits(runtime);
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
            (void)set_limits(runtime);
        step = pump(runtime, RETURN);
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
            if (!may_begin_anew(runtime))
                return ended(runtime);
            (void)ended(runtime);
            if (sleep_ms(ANEW_MS) < 0)
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
    return code < 0 ? code : settle(runtime);
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
    step = pump(runtime, RETRY);
    if (step == LAMBDA_PROTO_STEP_ANSWER && code >= 0)
        return LAMBDA_PROTO_OK;
    if (step < 0)
        return step;
    if (step == LAMBDA_PROTO_STEP_END && !may_begin_anew(runtime))
        return ended(runtime);
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
    return settle(runtime);
}

int32_t lambda_proto_runtime_fail(lambda_proto_runtime *runtime,
                                  const char *type, size_t type_length,
                                  const char *message, size_t message_length,
                                  const char *trace, size_t trace_length,
                                  const char *cause, size_t cause_length)
{
    const struct text texts[] = {{type, type_length}, {message, message_length},
                                 {trace, trace_length}, {cause, cause_length}};
    int32_t code = report(runtime, lambda_proto_client_fail, texts);

    return code < 0 ? code : settle(runtime);
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
    int32_t code = report(runtime, lambda_proto_client_fail_init, texts);

    return code < 0 ? code : finish_report(runtime);
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
    step = pump(runtime, RETURN);
    runtime->is_restoring = step == LAMBDA_PROTO_ERROR_INTERRUPTED;
    if (step < 0)
        return step;
    return step == LAMBDA_PROTO_STEP_END ? ended(runtime) : LAMBDA_PROTO_OK;
}

int32_t lambda_proto_runtime_fail_restore(lambda_proto_runtime *runtime,
                                          const char *type, size_t type_length,
                                          const char *message, size_t message_length,
                                          const char *trace, size_t trace_length,
                                          const char *cause, size_t cause_length)
{
    const struct text texts[] = {{type, type_length}, {message, message_length},
                                 {trace, trace_length}, {cause, cause_length}};
    int32_t code = report(runtime, lambda_proto_client_fail_restore, texts);

    return code < 0 ? code : finish_report(runtime);
}

/* ---- Reports -------------------------------------------------------------------------------- */

/* The length of the character of UTF-8 with which these bytes begin; 0 if it is none. */
static size_t character(const unsigned char *bytes, size_t length)
{
    size_t needed = bytes[0] < 0x80 ? 1 : bytes[0] < 0xc2 ? 0 : bytes[0] < 0xe0 ? 2
                  : bytes[0] < 0xf0 ? 3 : bytes[0] < 0xf5 ? 4 : 0;
    size_t index;

    if (needed > length)
        return 0;
    for (index = 1; index < needed; index++)
        if ((bytes[index] & 0xc0) != 0x80)
            return 0;
    /* Longer than necessary, a surrogate, or beyond U+10FFFF. */
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f)
        || (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return needed;
}

/* A copy of the text in which U+FFFD stands for each byte that is not UTF-8; the empty text if there
 * is no memory. */
static struct text utf8(struct text text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    struct text copy = {NULL, 0};
    size_t at, length;
    char *bytes;

    if (text.length == 0 || text.length > PTRDIFF_MAX / 3)
        return copy;
    bytes = malloc(3 * text.length);
    copy.start = bytes;
    if (bytes == NULL)
        return copy;
    for (at = 0; at < text.length; at += length == 0 ? 1 : length) {
        length = character((const unsigned char *)text.start + at, text.length - at);
        memcpy(bytes + copy.length, length == 0 ? replacement : text.start + at,
               length == 0 ? 3 : length);
        copy.length += length == 0 ? 3 : length;
    }
    return copy;
}

static int32_t send_report(lambda_proto_runtime *runtime, report_function *send,
                           const struct text texts[4])
{
    int32_t code;

    WITH_MEMORY(runtime, code,
                send(runtime->client, texts[0].start, texts[0].length,
                     texts[1].start, texts[1].length, texts[2].start, texts[2].length,
                     texts[3].start, texts[3].length));
    return code;
}

/* Sends a report. What is said about an error is often not text, and the invocation has to be
 * answered nevertheless. */
static int32_t report(lambda_proto_runtime *runtime, report_function *send,
                      const struct text texts[4])
{
    struct text copies[4];
    int32_t code;
    int index;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    code = send_report(runtime, send, texts);
    if (code != LAMBDA_PROTO_ERROR_UTF8)
        return code;
    for (index = 0; index < 4; index++) {
        if (texts[index].length > 0 && texts[index].start == NULL)
            return LAMBDA_PROTO_ERROR_NULL;
        if (texts[index].length > PTRDIFF_MAX)
            return LAMBDA_PROTO_ERROR_LENGTH;
    }
    for (index = 0; index < 4; index++)
        copies[index] = utf8(texts[index]);
    code = send_report(runtime, send, copies);
    for (index = 0; index < 4; index++)
        free((void *)(uintptr_t)copies[index].start);
    return code;
}

/* ---- The loop ------------------------------------------------------------------------------- */

/* Sends an answer that has begun, and waits for its receipt. */
static int32_t settle(lambda_proto_runtime *runtime)
{
    int32_t step = pump(runtime, RETRY);

    if (step < 0)
        return step;
    /* If the slot starts over, next() does that. */
    if (step == LAMBDA_PROTO_STEP_END && !may_begin_anew(runtime))
        return ended(runtime);
    return LAMBDA_PROTO_OK;
}

/* Sends a report of a failed init or restore, with which the session ends. */
static int32_t finish_report(lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;
    int32_t step;

    do
        step = pump(runtime, RETRY);
    while (step == LAMBDA_PROTO_STEP_SETTLED);
    if (step < 0)
        return step;
    if (lambda_proto_client_end(runtime->client, &text, &length) == LAMBDA_PROTO_END_DONE)
        return LAMBDA_PROTO_OK;
    return ended(runtime);
}

/* Whether the slot starts over after the end of its session. */
static int may_begin_anew(const lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;

    return runtime->slots > 1
        && lambda_proto_client_end(runtime->client, &text, &length) == LAMBDA_PROTO_END_PROTOCOL;
}

/* Logs why the session is over. */
static int32_t ended(lambda_proto_runtime *runtime)
{
    const char *text;
    size_t length;
    int32_t end = lambda_proto_client_end(runtime->client, &text, &length);

    hang_up(runtime);
    if (end > 0 && end != LAMBDA_PROTO_END_DONE)
        log_line(runtime, "%.*s", (int)length, text);
    return LAMBDA_PROTO_ERROR_ENDED;
}

static int32_t give_up_session(lambda_proto_runtime *runtime, int32_t code);
static int32_t reach(lambda_proto_runtime *runtime, enum interruption interruption);
static int32_t write_unsent(lambda_proto_runtime *runtime);
static int32_t read_some(lambda_proto_runtime *runtime, enum interruption interruption);

/* Connects, writes and reads as the client asks; returns the first other step, or an error. */
static int32_t pump(lambda_proto_runtime *runtime, enum interruption interruption)
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
            hang_up(runtime);
        switch (step) {
        case LAMBDA_PROTO_STEP_CONNECT:
            code = reach(runtime, interruption);
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            code = write_unsent(runtime);
            break;
        case LAMBDA_PROTO_STEP_READ:
            code = read_some(runtime, interruption);
            break;
        case LAMBDA_PROTO_STEP_WARNING:
            if (lambda_proto_client_warning(client, &text, &length) > 0)
                log_line(runtime, "%.*s", (int)length, text);
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

    hang_up(runtime);
    (void)lambda_proto_client_shut_down(runtime->client);
    do {
        step = lambda_proto_client_step(runtime->client);
        if (step == LAMBDA_PROTO_STEP_WARNING
            && lambda_proto_client_warning(runtime->client, &text, &length) > 0)
            log_line(runtime, "%.*s", (int)length, text);
    } while (step == LAMBDA_PROTO_STEP_WARNING || step == LAMBDA_PROTO_STEP_SETTLED);
    return code;
}

/* Whether the call ends here because a signal handler has run during it. What is in flight is sent
 * first. */
static int is_interrupted(const lambda_proto_runtime *runtime, enum interruption interruption)
{
    return interruption == RETURN && runtime->is_signalled
        && (lambda_proto_client_is_waiting(runtime->client) == 1
            || lambda_proto_client_may_stop(runtime->client) == 1);
}

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

/* Writes some of the unsent bytes. */
static int32_t write_unsent(lambda_proto_runtime *runtime)
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

/* Reads some bytes, however long that takes. */
static int32_t read_some(lambda_proto_runtime *runtime, enum interruption interruption)
{
    uint8_t *room;
    size_t length;
    ssize_t read;
    int32_t code;

    if (is_interrupted(runtime, interruption))
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

/* ---- Memory --------------------------------------------------------------------------------- */

/* Lets both memories grow, up to what the largest event and the largest report need. */
static int32_t set_limits(lambda_proto_runtime *runtime)
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

/* Gives the client the memory that its last call needed. Returns whether to call again. */
static int grow(lambda_proto_runtime *runtime)
{
    int has_changed = grow_kind(runtime, LAMBDA_PROTO_MEMORY_EVENTS, &runtime->events);

    return grow_kind(runtime, LAMBDA_PROTO_MEMORY_REQUESTS, &runtime->requests) || has_changed;
}

/* ---- Connections ---------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sleeps; -1 if a signal handler has run, after which it has slept on. */
static int sleep_ms(uint64_t ms)
{
    struct timespec left;
    int result = 0;

    left.tv_sec = (time_t)(ms / 1000);
    left.tv_nsec = (long)(ms % 1000) * 1000000;
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        result = -1;
    return result;
}

/* Any number, another one in each environment. */
static uint32_t random_number(const lambda_proto_runtime *runtime)
{
    struct timespec now;
    uint64_t mixed;

    clock_gettime(CLOCK_REALTIME, &now);
    mixed = (uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 32) ^ (uint64_t)(uintptr_t)runtime;
    mixed *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32);
}

static void hang_up(lambda_proto_runtime *runtime)
{
    if (runtime->socket < 0)
        return;
    close(runtime->socket);
    runtime->socket = -1;
    (void)lambda_proto_outage_lost(runtime->outage, now_ms());
}

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
    uint64_t until = now_ms() + timeout_ms, now;
    int ready, error = 0;
    socklen_t length = sizeof error;

    for (;;) {
        now = now_ms();
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

/* Connects to the first address of the host that accepts; as connect_to(). */
static int connect_once(lambda_proto_runtime *runtime, uint64_t timeout_ms, int *error)
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

/* Why the last attempt to connect has failed. */
static const char *last_reason(const lambda_proto_runtime *runtime, char *room, size_t length)
{
    if (runtime->last_lookup != 0 && runtime->last_lookup != EAI_SYSTEM)
        return gai_strerror(runtime->last_lookup);
    if (strerror_r(runtime->last_errno, room, length) != 0)
        snprintf(room, length, "error %d", runtime->last_errno);
    return room;
}

/* How much of the patience is left. */
static uint64_t patience_left(const lambda_proto_runtime *runtime)
{
    uint64_t lasted = 0;

    (void)lambda_proto_outage_lasted_ms(runtime->outage, now_ms(), &lasted);
    return lasted < runtime->patience_ms ? runtime->patience_ms - lasted : 0;
}

/* Sleeps until the next attempt to connect is due, or the patience ends; -1 if a signal handler has
 * run before that and the call ends for it. */
static int await_attempt(lambda_proto_runtime *runtime, enum interruption interruption)
{
    struct timespec pause;
    uint64_t now, left;

    for (;;) {
        if (is_interrupted(runtime, interruption))
            return -1;
        now = now_ms();
        left = patience_left(runtime);
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

/* Connects, again and again until the patience ends. What is known of the attempts outlasts an
 * interruption, so that signals neither hurry nor delay them. */
static int32_t reach(lambda_proto_runtime *runtime, enum interruption interruption)
{
    lambda_proto_client *client = runtime->client;
    const char *host = lambda_proto_client_host(client);
    int port = (int)lambda_proto_client_port(client);
    uint64_t tried, left;
    const char *reason;
    char room[128];
    int32_t wait;

    hang_up(runtime);
    if (runtime->due_ms == 0) {
        runtime->began_ms = now_ms();
        if (lambda_proto_client_losses(client) == LOSSES_TO_LOG)
            log_line(runtime, "the Runtime API at %s port %d keeps closing the connection before "
                              "sending an invocation; backing off", host, port);
    }
    for (;;) {
        if (runtime->due_ms == 0) {
            wait = lambda_proto_client_backoff_ms(client, runtime->failed, random_number(runtime));
            runtime->due_ms = now_ms() + (wait < 0 ? 0 : (uint64_t)wait);
        }
        if (await_attempt(runtime, interruption) < 0)
            return LAMBDA_PROTO_ERROR_INTERRUPTED;
        runtime->due_ms = 0;
        tried = now_ms();
        left = patience_left(runtime);
        runtime->socket = connect_once(runtime, left > 0 ? left : 1, &runtime->last_errno);
        if (runtime->socket >= 0) {
            (void)lambda_proto_outage_connected(runtime->outage);
            if (runtime->failed > 0)
                log_line(runtime, "connected to the Runtime API at %s port %d after %lu.%lu s",
                         host, port, (unsigned long)((now_ms() - runtime->began_ms) / 1000),
                         (unsigned long)((now_ms() - runtime->began_ms) % 1000 / 100));
            runtime->failed = 0;
            return lambda_proto_client_connected(client);
        }
        (void)lambda_proto_outage_failed(runtime->outage, tried);
        reason = last_reason(runtime, room, sizeof room);
        if (patience_left(runtime) == 0) {
            log_line(runtime, "no connection to the Runtime API at %s port %d, giving up: %s",
                     host, port, reason);
            return LAMBDA_PROTO_ERROR_UNREACHABLE;
        }
        if (runtime->failed == 0)
            log_line(runtime, "no connection to the Runtime API at %s port %d: %s; trying again",
                     host, port, reason);
        if (runtime->failed < UINT32_MAX)
            runtime->failed++;
    }
}

/* ---- The log -------------------------------------------------------------------------------- */

/* Writes one line in one write, so that lines of several threads do not mix. */
static void log_line(const lambda_proto_runtime *runtime, const char *format, ...)
{
    static const char prefix[] = "lambda_proto: ";
    char line[1024];
    size_t length = sizeof prefix - 1;
    va_list arguments;
    int written, saved = errno;
    ssize_t unused;

    if (runtime->log < 0)
        return;
    memcpy(line, prefix, length);
    va_start(arguments, format);
    written = vsnprintf(line + length, sizeof line - length - 1, format, arguments);
    va_end(arguments);
    if (written > 0)
        length += (size_t)written < sizeof line - length - 1 ? (size_t)written
                                                             : sizeof line - length - 2;
    line[length++] = '\n';
    do
        unused = write(runtime->log, line, length);
    while (unused < 0 && errno == EINTR);
    errno = saved;
}
