/*
 * What the files of layer two share. None of it is part of the interface: `capi/install` makes these
 * names local to the library.
 *
 *  runtime.c   the functions of the header: commands to the client, then the session until it asks
 *              for something else
 *  session.c   connects, writes, reads and logs as the client's steps say
 *  socket.c    system calls on the socket
 *  reach.c     connects again, with pauses, until the patience ends
 *  outage.c    what slots share: how long none has had a connection
 *  memory.c    more memory for the client when it asks for it
 *  report.c    error reports, in UTF-8
 *  clock.c     time, pauses, and a number for the backoff
 *  log.c       one line in one write
 *
 * Include it first: it says which functions of the system the files use.
 */
#ifndef BLOCKING_H
#define BLOCKING_H

#define _POSIX_C_SOURCE 200809L
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#endif

#include "lambda_proto.h"

struct lambda_proto_runtime {
    lambda_proto_client *client;
    struct shared_outage *outage;
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
    uint64_t began_ms;  /* when the first of them was planned; 0: this has never been connected */
    int has_told;       /* the log has said that this slot has no connection */
    int is_signalled;   /* a signal handler has run during this call, and it has not been returned */
    int is_restoring;   /* restore_next() was interrupted */
    int is_stream_over; /* the service has ended the stream, and the program does not know yet */
    int is_short;       /* there was no memory, and the client goes on with what it has */
};

/* Whether the session returns when a signal handler has run. */
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

/* ---- session.c */

/* Connects, writes and reads as the client asks; returns the first other step, or an error. */
int32_t blocking_pump(lambda_proto_runtime *runtime, enum interruption interruption);

/* Sends an answer that has begun, and waits for its receipt. */
int32_t blocking_settle(lambda_proto_runtime *runtime);

/* Sends a report of a failed init or restore, with which the session ends. */
int32_t blocking_finish_report(lambda_proto_runtime *runtime);

/* Whether the slot starts over after the end of its session. */
int blocking_may_begin_anew(const lambda_proto_runtime *runtime);

/* Logs why the session is over. */
int32_t blocking_ended(lambda_proto_runtime *runtime);

/* Whether the call ends here because a signal handler has run during it. What is in flight is sent
 * first. */
int blocking_is_interrupted(const lambda_proto_runtime *runtime, enum interruption interruption);

/* ---- socket.c */

/* Connects to the first address of the host that accepts; returns the socket, or -1 and writes an
 * errno. One attempt takes `timeout_ms` at most, and never very long. */
int blocking_connect(lambda_proto_runtime *runtime, uint64_t timeout_ms, int *error);

/* Closes the connection, if there is one. */
void blocking_hang_up(lambda_proto_runtime *runtime);

/* Writes some of the unsent bytes. */
int32_t blocking_write(lambda_proto_runtime *runtime);

/* Reads some bytes, however long that takes. */
int32_t blocking_read(lambda_proto_runtime *runtime, enum interruption interruption);

/* ---- reach.c */

/* Connects, again and again until the patience ends. What is known of the attempts outlasts an
 * interruption, so that signals neither hurry nor delay them. */
int32_t blocking_reach(lambda_proto_runtime *runtime, enum interruption interruption);

/* ---- outage.c */

/* What follows a failed attempt to connect. */
enum failure { TRY_AGAIN, GIVE_UP };

/* An outage for one slot; NULL and errno if there is no memory. */
struct shared_outage *blocking_outage_new(void);

/* Leaves the outage, if there is one. The slot has no connection. */
void blocking_outage_leave(lambda_proto_runtime *runtime);

/* The slot has a connection. Returns whether the log has said that it had none. */
int blocking_outage_connected(lambda_proto_runtime *runtime);

/* The slot has no connection any more. */
void blocking_outage_lost(lambda_proto_runtime *runtime);

/* How much of the patience is left, in milliseconds. */
uint64_t blocking_patience_left(const lambda_proto_runtime *runtime);

/* An attempt to connect, which began at `began_ms`, has failed. `is_news`: whether the log has not
 * said so for any of the slots. */
enum failure blocking_outage_failed(lambda_proto_runtime *runtime, uint64_t began_ms, int *is_news);

/* ---- memory.c */

/* Lets both memories grow, up to what the largest event and the largest report need. */
int32_t blocking_set_limits(lambda_proto_runtime *runtime);

/* Gives the client the memory that its last call needed. Returns whether to call again. */
int blocking_grow(lambda_proto_runtime *runtime);

/* Calls a command of the client until it has the memory that it needs. */
#define WITH_MEMORY(runtime, code, call) \
    do \
        (code) = (call); \
    while ((code) == LAMBDA_PROTO_ERROR_MEMORY && blocking_grow(runtime))

/* ---- report.c */

/* Sends a report. What is said about an error is often not text, and the invocation has to be
 * answered nevertheless. */
int32_t blocking_report(lambda_proto_runtime *runtime, report_function *send,
                        const struct text texts[4]);

/* ---- clock.c */

/* A reading of a monotonic clock. */
uint64_t blocking_now_ms(void);

/* Sleeps; -1 if a signal handler has run, after which it has slept on. */
int blocking_sleep_ms(uint64_t ms);

/* Any number, another one in each environment. */
uint32_t blocking_random(const lambda_proto_runtime *runtime);

/* ---- log.c */

/* Writes one line in one write, so that lines of several threads do not mix. */
void blocking_log(const lambda_proto_runtime *runtime, const char *format, ...);

#endif
