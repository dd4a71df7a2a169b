/*
 * lambda_proto: the AWS Lambda Runtime API for programs in C, or in any language that can call C.
 *
 * Layer one, lambda_proto_client_*, does no I/O and allocates nothing: the program owns the socket,
 * the clock and the memory, and does what lambda_proto_client_step() asks for. Layer two,
 * lambda_proto_runtime_*, is a blocking runtime over layer one. capi/README.md introduces both.
 *
 * Conventions
 *
 * - A function that returns int32_t returns a negative number on failure: an enum
 *   lambda_proto_error. After a failure nothing has changed, unless the function says otherwise.
 *   0 is success; functions that return something positive say so.
 * - Lengths are in bytes. A pointer with length 0 may be NULL. A length may not exceed PTRDIFF_MAX.
 * - Text that is passed in is UTF-8 and needs no NUL at its end. Text and bytes that are handed out
 *   have none either, unless a function returns `const char *`.
 * - Out-parameters are written on success only, unless the function says otherwise, and may not be
 *   NULL.
 * - Memory that is passed in stays the caller's. Memory that is handed out is borrowed: each
 *   function says until when.
 * - errno is neither read nor written by layer one. Nothing is written anywhere but to the memory
 *   that was passed in, and nothing unwinds.
 * - One client or runtime belongs to one thread at a time. Different ones are independent, as there
 *   is no global state.
 */
#ifndef LAMBDA_PROTO_H
#define LAMBDA_PROTO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cdef: from here on, without comments and preprocessor lines, this is lambda_proto.cdef. */

/* ---- Versions and errors ------------------------------------------------------------------- */

enum lambda_proto_constant {
    /* What lambda_proto_abi_version() returns for this header. */
    LAMBDA_PROTO_ABI_VERSION = 1,
    /* Largest event and largest response, in bytes, as Lambda counts them: 6 MiB and 100 bytes. */
    LAMBDA_PROTO_MAX_PAYLOAD = 6291556,
    /* Memory for requests that is enough for every request of layer one but for long error
     * reports, which are cut to fit, in bytes. */
    LAMBDA_PROTO_REQUEST_MEMORY = 2821,
    /* The most memory that a request can use: an error report of 1 MiB with a cause for X-Ray. */
    LAMBDA_PROTO_MAX_REQUEST_MEMORY = 2104076,
    /* Memory for events that is enough for every head of an event: 64 KiB. An event needs its head
     * and its body. */
    LAMBDA_PROTO_MAX_HEAD = 65536,
    /* How long to try without any connection, in milliseconds; see lambda_proto_outage_*. */
    LAMBDA_PROTO_PATIENCE_MS = 60000,
    /* How many bytes of a reply lambda_proto_refuses_early() looks at. */
    LAMBDA_PROTO_EARLY_REPLY = 10,
    /* Most headers, and most cookies, of lambda_proto_http_prelude(). */
    LAMBDA_PROTO_MAX_PRELUDE_FIELDS = 64
};

enum lambda_proto_error {
    LAMBDA_PROTO_OK = 0,
    /* A pointer is NULL that may not be. */
    LAMBDA_PROTO_ERROR_NULL = -1,
    /* Memory for an opaque type does not have its alignment. */
    LAMBDA_PROTO_ERROR_ALIGNMENT = -2,
    /* Memory is too short for what it is to hold. */
    LAMBDA_PROTO_ERROR_SHORT = -3,
    /* A length exceeds PTRDIFF_MAX, or more bytes are reported than there was room or data for. */
    LAMBDA_PROTO_ERROR_LENGTH = -4,
    /* The memory holds no such object: it was not initialised, was closed, or was moved. */
    LAMBDA_PROTO_ERROR_HANDLE = -5,
    /* The call is not allowed in this phase, such as a second response. */
    LAMBDA_PROTO_ERROR_PHASE = -6,
    /* Bytes of the previous command have not been sent. */
    LAMBDA_PROTO_ERROR_UNSENT = -7,
    /* This connection takes no further request: take the next step. */
    LAMBDA_PROTO_ERROR_RECONNECT = -8,
    /* More memory is needed: lambda_proto_client_memory_needed() says which, and how much. */
    LAMBDA_PROTO_ERROR_MEMORY = -9,
    /* A text is not UTF-8. */
    LAMBDA_PROTO_ERROR_UTF8 = -10,
    /* Not the address of a Runtime API: use host:port or [v6-address]:port. */
    LAMBDA_PROTO_ERROR_ADDRESS = -11,
    /* A user agent has 1 to 128 visible ASCII characters. */
    LAMBDA_PROTO_ERROR_USER_AGENT = -12,
    /* A content type has 1 to 256 bytes and no control characters. */
    LAMBDA_PROTO_ERROR_CONTENT_TYPE = -13,
    /* A number or constant is out of range, or the text of a number is none. */
    LAMBDA_PROTO_ERROR_ARGUMENT = -14,
    /* No room before the next step: take it. */
    LAMBDA_PROTO_ERROR_ROOM = -15,
    /* The service accepts no more of this stream. Only layer two returns this and what follows. */
    LAMBDA_PROTO_ERROR_STREAM_OVER = -16,
    /* The session is over: exit with a code other than 0. */
    LAMBDA_PROTO_ERROR_ENDED = -17,
    /* There was no connection for LAMBDA_PROTO_PATIENCE_MS: exit with a code other than 0. */
    LAMBDA_PROTO_ERROR_UNREACHABLE = -18,
    /* A system call failed: lambda_proto_runtime_errno() says why; after lambda_proto_runtime_open(),
     * errno. */
    LAMBDA_PROTO_ERROR_SYSTEM = -19,
    /* AWS_LAMBDA_RUNTIME_API is not set. */
    LAMBDA_PROTO_ERROR_ENVIRONMENT = -20,
    /* A signal handler ran during lambda_proto_runtime_next() or _restore_next(). Nothing is lost:
     * call the same function again, or stop. */
    LAMBDA_PROTO_ERROR_INTERRUPTED = -21
};

/* The version of the interface that the library has. A program that loads the library at run time
 * compares it with LAMBDA_PROTO_ABI_VERSION. */
int32_t lambda_proto_abi_version(void);

/* The version of the library, such as "0.1.0"; static, ends with NUL. */
const char *lambda_proto_version(void);

/* The name of an error code, such as "LAMBDA_PROTO_ERROR_PHASE"; static, ends with NUL. Never
 * NULL: other numbers have the name "LAMBDA_PROTO_ERROR_UNKNOWN". */
const char *lambda_proto_error_name(int32_t code);

/* One line in English that says what is wrong and what to do; static, ends with NUL, never NULL. */
const char *lambda_proto_error_text(int32_t code);

/* ---- Layer one: a client ------------------------------------------------------------------- */

/* One runtime client without its socket. A runtime that takes several invocations at a time has
 * one for each slot. */
typedef struct lambda_proto_client lambda_proto_client;

/* Size and alignment of a client in bytes, for the memory that lambda_proto_client_init() takes.
 * Memory from malloc() has the alignment. */
size_t lambda_proto_client_size(void);
size_t lambda_proto_client_align(void);

/* Makes a client in `memory` of `length` bytes, which may not move until it is closed.
 *
 * `address` is the value of AWS_LAMBDA_RUNTIME_API. `user_agent` is a token name/version; NULL is
 * that of this library. `slots` is the number of clients that the runtime has: 1, or see
 * lambda_proto_slots(). The client copies all of it.
 *
 * Give it memory before the first step, for events and for requests. On success the client is
 * (lambda_proto_client *)memory.
 *
 * Errors: NULL, ALIGNMENT, SHORT, LENGTH, UTF8, ADDRESS, USER_AGENT, ARGUMENT (0 slots). */
int32_t lambda_proto_client_init(void *memory, size_t length,
                                 const char *address, size_t address_length,
                                 const char *user_agent, size_t user_agent_length,
                                 size_t slots);

/* Ends the use of the client: every later call returns HANDLE. All memory is the caller's again.
 * Nothing is sent. */
int32_t lambda_proto_client_close(lambda_proto_client *client);

/* Reads the number of slots from the value of AWS_LAMBDA_MAX_CONCURRENCY. Empty, 0 and 1 mean one.
 * Errors: NULL, LENGTH, UTF8, ARGUMENT (not a decimal number). */
int32_t lambda_proto_slots(const char *value, size_t length, size_t *slots);

/* ---- Its memory ---------------------------------------------------------------------------- */

enum lambda_proto_memory {
    /* For one event with the head of its reply. */
    LAMBDA_PROTO_MEMORY_EVENTS = 1,
    /* For the head of a request, the body of an error report, and the reply. */
    LAMBDA_PROTO_MEMORY_REQUESTS = 2
};

/* Gives the client memory in place of what it has of this kind. The client copies the contents, and
 * fills the rest of the new memory with zeros. After that the previous memory is the caller's again,
 * and slices that were handed out from it are invalid. The new memory must be at least as long as
 * the previous one, or the function returns SHORT. While the client waits for an invocation and has
 * received nothing of it, any length will do.
 *
 * Errors: NULL, LENGTH, SHORT, ARGUMENT (no such kind). */
int32_t lambda_proto_client_give_memory(lambda_proto_client *client, int32_t kind,
                                        void *memory, size_t length);

/* Lets the memory of this kind grow up to `bytes`: from now on, a call that needs more than there
 * is returns MEMORY and changes nothing. Give more and call again; or, if there is none, set the
 * limit to 0 and call again. Set the limit before you give the first memory: one byte of memory that
 * may grow is held back. Memory for events is then to be longer than memory for requests.
 *
 * Without this, and at the limit, memory does not grow: an event that does not fit is reported as
 * an error of its invocation, and error reports are cut to fit. */
int32_t lambda_proto_client_set_max_memory(lambda_proto_client *client, int32_t kind,
                                           size_t bytes);

/* After MEMORY: writes how long the memory of this kind should be; 0 if it is long enough. At most
 * about twice what has arrived, so an announced length alone costs no memory. */
int32_t lambda_proto_client_memory_needed(const lambda_proto_client *client, int32_t kind,
                                          size_t *bytes);

/* Limits the body of events to `bytes`, whatever memory there is. A larger event is reported as an
 * error of its invocation. For Lambda: LAMBDA_PROTO_MAX_PAYLOAD. */
int32_t lambda_proto_client_set_max_event(lambda_proto_client *client, size_t bytes);

/* ---- The next step ------------------------------------------------------------------------- */

enum lambda_proto_step {
    /* Drop any connection, wait lambda_proto_client_backoff_ms(), connect to
     * lambda_proto_client_host() and _port(), call lambda_proto_client_connected(). After a failed
     * attempt call nothing, and try again. */
    LAMBDA_PROTO_STEP_CONNECT = 1,
    /* Write lambda_proto_client_unsent(), call _sent() or _write_failed(). */
    LAMBDA_PROTO_STEP_WRITE = 2,
    /* Read into lambda_proto_client_room(), however long that takes, call _received() or _lost().
     */
    LAMBDA_PROTO_STEP_READ = 3,
    /* Nothing is outstanding: call lambda_proto_client_ask(), or stop. At the start perhaps
     * _restore_next() or _fail_init(). */
    LAMBDA_PROTO_STEP_IDLE = 4,
    /* Answer the invocation in flight, now or later: _respond(), _fail() or _stream(). While
     * _is_streaming(), continue its stream: _chunk(), _finish() or _fail(). */
    LAMBDA_PROTO_STEP_ANSWER = 5,
    /* lambda_proto_client_receipt() of an answer, of an init or restore report, or of
     * _restore_next(): once for each. The body of the answer may be freed now. */
    LAMBDA_PROTO_STEP_SETTLED = 6,
    /* The session is over: lambda_proto_client_end() says why. */
    LAMBDA_PROTO_STEP_END = 7,
    /* Log lambda_proto_client_warning(), a problem that does not end the session. */
    LAMBDA_PROTO_STEP_WARNING = 8
};

/* Returns what to do now: an enum lambda_proto_step. A step that would block can wait: ask for it
 * again later. Errors: NULL, HANDLE. */
int32_t lambda_proto_client_step(lambda_proto_client *client);

/* The host to connect to, a name or an IP address without brackets, with a NUL at its end; NULL for
 * a bad handle. Valid until the client is closed. */
const char *lambda_proto_client_host(const lambda_proto_client *client);

/* The port to connect to, 1 to 65535. */
int32_t lambda_proto_client_port(const lambda_proto_client *client);

/* How long to wait before this attempt to connect, in milliseconds, 0 to 3200. `failed` is the
 * number of attempts that have failed since the last CONNECT step began; `random` is any number, a
 * new one for each call. */
int32_t lambda_proto_client_backoff_ms(const lambda_proto_client *client, uint32_t failed,
                                       uint32_t random);

/* There is a new connection. */
int32_t lambda_proto_client_connected(lambda_proto_client *client);

/* Writes up to three slices to send, in order, into parts[0..3] and lengths[0..3], the rest as NULL
 * and 0, and returns how many there are. Valid until the next call that takes a client that is not
 * const. The last of them may be the body that was passed in. */
int32_t lambda_proto_client_unsent(const lambda_proto_client *client,
                                   const uint8_t **parts, size_t *lengths);

/* `length` of the unsent bytes were written. Errors: LENGTH (more than there are). */
int32_t lambda_proto_client_sent(lambda_proto_client *client, size_t length);

/* The connection takes no more bytes. A reply that was sent before is still read. */
int32_t lambda_proto_client_write_failed(lambda_proto_client *client);

/* Hands out room to read into, at least one byte, until the next call that takes a client that is
 * not const. The program may read at any time; with bytes left to write only if
 * lambda_proto_refuses_early(). Errors: MEMORY, ROOM. */
int32_t lambda_proto_client_room(lambda_proto_client *client, uint8_t **room, size_t *length);

/* `length` bytes were read into the room; 0 is the end of the stream. Errors: LENGTH. */
int32_t lambda_proto_client_received(lambda_proto_client *client, size_t length);

/* The connection broke with an error, or the program has dropped it. */
int32_t lambda_proto_client_lost(lambda_proto_client *client);

/* Whether a reply that comes while a write waits means that the write is useless: 1 or 0. The bytes
 * are the first LAMBDA_PROTO_EARLY_REPLY that there are to read, only looked at (MSG_PEEK); none,
 * if that is the end of the stream. If 1, call _write_failed() and take the next step. */
int32_t lambda_proto_refuses_early(const void *beginning, size_t length);

enum lambda_proto_receipt {
    /* The service has accepted it. */
    LAMBDA_PROTO_RECEIPT_ACCEPTED = 1,
    /* The service has refused it; there was a warning. */
    LAMBDA_PROTO_RECEIPT_REFUSED = 2,
    /* The reply arrives together with the next invocation. */
    LAMBDA_PROTO_RECEIPT_PIPELINED = 3,
    /* The connection was lost, or the session ended first. After _restore_next(): treat it as a
     * restore. */
    LAMBDA_PROTO_RECEIPT_UNKNOWN = 4
};

/* Returns the latest receipt, an enum lambda_proto_receipt, and writes the status of the reply, or
 * 0 without one. Errors: PHASE (no receipt yet). */
int32_t lambda_proto_client_receipt(const lambda_proto_client *client, int32_t *status);

enum lambda_proto_warning {
    /* The service refused a call. */
    LAMBDA_PROTO_WARNING_REFUSED = 1,
    /* The received bytes are not a valid reply; they are ignored with their connection. */
    LAMBDA_PROTO_WARNING_INVALID_REPLY = 2,
    /* The connection was lost before the reply; the answer is sent again. */
    LAMBDA_PROTO_WARNING_SENT_AGAIN = 3,
    /* The connection was lost, and it is unknown whether the answer arrived. */
    LAMBDA_PROTO_WARNING_FATE_UNKNOWN = 4,
    /* The session ended before the answer was sent. */
    LAMBDA_PROTO_WARNING_UNSENT = 5,
    /* The connection was lost in the middle of the event; its invocation fails. */
    LAMBDA_PROTO_WARNING_EVENT_LOST = 6,
    /* The event exceeded the limit or the memory; its invocation fails. */
    LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE = 7,
    /* The invocation was given up without an answer. */
    LAMBDA_PROTO_WARNING_UNANSWERED = 8,
    /* The invocation was answered with an error. */
    LAMBDA_PROTO_WARNING_FAILED = 9,
    /* The invocation failed after its answer; the caller is not affected. */
    LAMBDA_PROTO_WARNING_FAILED_AFTER_ANSWER = 10,
    /* Any other; also warnings that were dropped, as more than four waited. */
    LAMBDA_PROTO_WARNING_OTHER = 11
};

/* Returns the kind of the warning of the last WARNING step, and hands out one line of UTF-8 about
 * it, of at most 512 bytes, valid until the next step. Errors: PHASE (no warning). */
int32_t lambda_proto_client_warning(const lambda_proto_client *client,
                                    const char **text, size_t *length);

enum lambda_proto_end {
    /* A failed init or restore was reported, or the client was shut down. */
    LAMBDA_PROTO_END_DONE = 1,
    /* The service violated the protocol. With several slots, drop the connection, wait about a
     * second, and call lambda_proto_client_begin_anew(). */
    LAMBDA_PROTO_END_PROTOCOL = 2,
    /* The service wants the process to end. */
    LAMBDA_PROTO_END_SERVICE = 3,
    /* A request of the client itself does not fit the memory for requests. */
    LAMBDA_PROTO_END_MEMORY = 4,
    /* A head from the service does not fit the memory for it. */
    LAMBDA_PROTO_END_HEAD = 5
};

/* Returns why the session is over, an enum lambda_proto_end, and hands out one line of UTF-8 about
 * it, valid until the client is closed or begins again. Errors: PHASE (not over). After any end, the
 * process exits, with a code other than 0 unless the program has shut the client down. */
int32_t lambda_proto_client_end(const lambda_proto_client *client,
                                const char **text, size_t *length);

/* Resets the client as for a new process, but keeps the memory. Errors: PHASE (the end does not
 * allow it). */
int32_t lambda_proto_client_begin_anew(lambda_proto_client *client);

/* ---- The invocation in flight --------------------------------------------------------------- */

/* From ANSWER on, these functions hand out the event and its head; before that, they return PHASE.
 * The slices are valid until a step returns SETTLED or END, or the memory for events is replaced.
 */

/* The body of the event: any bytes, mostly JSON. */
int32_t lambda_proto_client_event(const lambda_proto_client *client,
                                  const uint8_t **event, size_t *length);

enum lambda_proto_field {
    /* Lambda-Runtime-Aws-Request-Id; always present, UTF-8. */
    LAMBDA_PROTO_FIELD_REQUEST_ID = 1,
    /* Lambda-Runtime-Invocation-Id: the id of this attempt. */
    LAMBDA_PROTO_FIELD_ATTEMPT_ID = 2,
    /* Lambda-Runtime-Invoked-Function-Arn; UTF-8. */
    LAMBDA_PROTO_FIELD_FUNCTION_ARN = 3,
    /* Lambda-Runtime-Trace-Id: the X-Ray trace header; UTF-8. */
    LAMBDA_PROTO_FIELD_TRACE_ID = 4,
    /* Lambda-Runtime-Client-Context: JSON from AWS, base64 from some local services. */
    LAMBDA_PROTO_FIELD_CLIENT_CONTEXT = 5,
    /* Lambda-Runtime-Cognito-Identity: JSON. */
    LAMBDA_PROTO_FIELD_COGNITO_IDENTITY = 6,
    /* Lambda-Runtime-Aws-Tenant-Id; UTF-8. */
    LAMBDA_PROTO_FIELD_TENANT_ID = 7,
    /* Content-Type of the event. */
    LAMBDA_PROTO_FIELD_CONTENT_TYPE = 8
};

/* The value of a field of the event; NULL and 0 if it is absent or empty. Bytes, and UTF-8 where
 * the field says so. Errors: ARGUMENT (no such field). */
int32_t lambda_proto_client_field(const lambda_proto_client *client, int32_t field,
                                  const char **value, size_t *length);

/* The value of any header of the event, by its name in any case; NULL and 0 if it is absent or
 * empty. It parses the head again, so it costs more than _field(). Errors: UTF8 (the name). */
int32_t lambda_proto_client_header(const lambda_proto_client *client,
                                   const char *name, size_t name_length,
                                   const char **value, size_t *length);

/* When the invocation times out, in milliseconds since the Unix epoch; 0 if the service did not
 * say. */
int32_t lambda_proto_client_deadline_ms(const lambda_proto_client *client, uint64_t *deadline);

/* Takes the event out of the client, which uses `memory` for events from then on. What _event(),
 * _field() and _header() have handed out stays valid in the previous memory, which is the caller's
 * again; further calls of them return PHASE. Errors: NULL, LENGTH, PHASE (the answer has begun, or
 * _stream() was called). */
int32_t lambda_proto_client_take_event(lambda_proto_client *client, void *memory, size_t length);

/* ---- Commands ------------------------------------------------------------------------------ */

/* Asks for the next invocation. Errors: PHASE, MEMORY. */
int32_t lambda_proto_client_ask(lambda_proto_client *client);

/* Answers the invocation. `content_type` of length 0 sends none. The body is not copied: it must
 * stay unchanged until SETTLED or END. It may be the event itself. With `pipelined` other than 0,
 * the client asks for the next invocation in the same write, if the memory for requests has room
 * for both; then the environment may be frozen, so finish other work first.
 *
 * Errors: NULL, LENGTH, CONTENT_TYPE, PHASE, UNSENT, RECONNECT, MEMORY. */
int32_t lambda_proto_client_respond(lambda_proto_client *client,
                                    const char *content_type, size_t content_type_length,
                                    const void *body, size_t body_length, int32_t pipelined);

/* Begins to stream the response: call _chunk() at each ANSWER, then _finish() or _fail(). If
 * SETTLED comes first, the service accepts no more of it. Nothing is sent before the first piece or
 * the end. Errors: as _respond(); a content type is required. */
int32_t lambda_proto_client_stream(lambda_proto_client *client,
                                   const char *content_type, size_t content_type_length);

/* Sends the next piece of the stream. It is not copied: it must stay unchanged until the next
 * ANSWER, SETTLED or END. An empty piece sends nothing. Errors: NULL, LENGTH, PHASE, UNSENT,
 * RECONNECT (the service has begun to reply: take the next step), MEMORY. */
int32_t lambda_proto_client_chunk(lambda_proto_client *client, const void *piece, size_t length);

/* Ends the stream. `pipelined` as in _respond(). Errors: PHASE, UNSENT, RECONNECT, MEMORY. */
int32_t lambda_proto_client_finish(lambda_proto_client *client, int32_t pipelined);

/* Reports that the invocation failed, at the end of its stream if that has a piece.
 *
 * `type` is for programs, in the form Category.Reason, such as Function.NoSuchTable; the empty text
 * is Runtime.Unknown. `trace` has one stack frame per line. `cause` is the JSON of a cause for
 * X-Ray. All of it is copied. Texts of length 0 are left out. Reports are cut to 1 MiB, and to the
 * memory for requests if that cannot grow: the cause first, then frames, then the message.
 *
 * A report makes a warning, FAILED. After the answer, nothing is sent and the function returns
 * PHASE, but there is a warning too, FAILED_AFTER_ANSWER.
 *
 * Errors: NULL, LENGTH, UTF8, PHASE, UNSENT, MEMORY. */
int32_t lambda_proto_client_fail(lambda_proto_client *client,
                                 const char *type, size_t type_length,
                                 const char *message, size_t message_length,
                                 const char *trace, size_t trace_length,
                                 const char *cause, size_t cause_length);

/* Reports that the invocation failed, as _fail(), with a report that the program has written: `json`
 * is sent unchanged and not checked. If it is empty, or longer than 1 MiB or the memory for requests
 * that cannot grow, a report made of `type` and `message` is sent instead. Errors: as _fail(). */
int32_t lambda_proto_client_fail_json(lambda_proto_client *client,
                                      const char *type, size_t type_length,
                                      const char *message, size_t message_length,
                                      const char *json, size_t json_length,
                                      const char *cause, size_t cause_length);

/* Reports that the handler gave no answer to the invocation in flight. Does nothing if there is no
 * invocation, or if it has been answered. */
int32_t lambda_proto_client_give_up(lambda_proto_client *client);

/* Reports that the function could not start; the client ends with the reply. Arguments and errors
 * as _fail(). */
int32_t lambda_proto_client_fail_init(lambda_proto_client *client,
                                      const char *type, size_t type_length,
                                      const char *message, size_t message_length,
                                      const char *trace, size_t trace_length,
                                      const char *cause, size_t cause_length);

/* Reports that the function could not start, as _fail_init(), with a report that the program has
 * written. Arguments and errors as _fail_json(). */
int32_t lambda_proto_client_fail_init_json(lambda_proto_client *client,
                                           const char *type, size_t type_length,
                                           const char *message, size_t message_length,
                                           const char *json, size_t json_length,
                                           const char *cause, size_t cause_length);

/* SnapStart (AWS_LAMBDA_INITIALIZATION_TYPE=snap-start): tells the service that the environment may
 * be snapshotted. SETTLED comes after the restore; then call _ask() or _fail_restore(). A service
 * without snapshots refuses it. Errors: PHASE, UNSENT, MEMORY. */
int32_t lambda_proto_client_restore_next(lambda_proto_client *client);

/* Reports that the function could not resume after the restore; the client ends with the reply.
 * Arguments and errors as _fail(). */
int32_t lambda_proto_client_fail_restore(lambda_proto_client *client,
                                         const char *type, size_t type_length,
                                         const char *message, size_t message_length,
                                         const char *trace, size_t trace_length,
                                         const char *cause, size_t cause_length);

/* Takes back the answer, or the piece of a stream, whose body must go before SETTLED. If no byte of
 * it was sent, it can be answered again; if a part was sent, the connection is given up. From then
 * on the client does not use the body. Call it between two steps, and not between _received() and
 * the step that follows. */
int32_t lambda_proto_client_withdraw(lambda_proto_client *client);

/* Ends the session, whatever is in flight: the next steps are SETTLED, if that is due, and END. The
 * program drops the connection. */
int32_t lambda_proto_client_shut_down(lambda_proto_client *client);

/* ---- Facts: 1 or 0 -------------------------------------------------------------------------- */

/* Whether there is a connection, as far as the client knows. If not, drop any that there is. */
int32_t lambda_proto_client_is_connected(const lambda_proto_client *client);

/* Whether the client only waits for an invocation or a restore, and nothing of it has arrived. */
int32_t lambda_proto_client_is_waiting(const lambda_proto_client *client);

/* How many connections in a row were lost without a reply, or how often in a row the service was too
 * busy. Not 1 or 0, but any number. */
int32_t lambda_proto_client_losses(const lambda_proto_client *client);

/* Whether a stream has begun and not ended. */
int32_t lambda_proto_client_is_streaming(const lambda_proto_client *client);

/* Whether nothing is in flight or arriving, so that the program may stop here without losing an
 * invocation that it knows of. */
int32_t lambda_proto_client_may_stop(const lambda_proto_client *client);

/* ---- Outages ------------------------------------------------------------------------------- */

/* How long no client of a runtime has had a connection. All clients share one outage. The runtime
 * gives up after LAMBDA_PROTO_PATIENCE_MS. Times are readings of one monotonic clock, in
 * milliseconds. */
typedef struct lambda_proto_outage lambda_proto_outage;

size_t lambda_proto_outage_size(void);
size_t lambda_proto_outage_align(void);

/* Makes an outage in `memory`. It holds no pointers, and needs no end. Errors: NULL, ALIGNMENT,
 * SHORT. */
int32_t lambda_proto_outage_init(void *memory, size_t length);

/* A client has connected. */
int32_t lambda_proto_outage_connected(lambda_proto_outage *outage);

/* A client has lost its connection, or has ended and dropped it. */
int32_t lambda_proto_outage_lost(lambda_proto_outage *outage, uint64_t now_ms);

/* An attempt to connect, which began at `began_ms`, has failed. */
int32_t lambda_proto_outage_failed(lambda_proto_outage *outage, uint64_t began_ms);

/* Writes how long there has been no connection, in milliseconds; 0 if there is one, or if no
 * attempt has failed. */
int32_t lambda_proto_outage_lasted_ms(const lambda_proto_outage *outage, uint64_t now_ms,
                                      uint64_t *lasted_ms);

/* ---- Streamed HTTP responses ---------------------------------------------------------------- */

/* Writes the beginning of a streamed HTTP response into `out`, and its length: status, headers and
 * cookies as JSON, then 8 NUL bytes. It comes first in a stream whose content type is
 * application/vnd.awslambda.http-integration-response.
 *
 * `fields` has two texts for each header, its name and its value; `field_lengths` has their
 * lengths; `headers` is the number of headers, not of texts. Cookies are in the form of Set-Cookie.
 * At most LAMBDA_PROTO_MAX_PRELUDE_FIELDS of each.
 *
 * Errors: NULL, LENGTH, UTF8, ARGUMENT (a status outside 100 to 999, too many, a name that is not a
 * token or occurs twice, a control character), SHORT: then `written` is the length that is needed,
 * and the contents of `out` are undefined. */
int32_t lambda_proto_http_prelude(int32_t status,
                                  const char *const *fields, const size_t *field_lengths,
                                  size_t headers,
                                  const char *const *cookies, const size_t *cookie_lengths,
                                  size_t cookie_count,
                                  void *out, size_t out_length, size_t *written);

/* ---- Layer two: a blocking runtime ----------------------------------------------------------- */

/* A client with its socket and its memory, which comes from malloc(). It is not in
 * liblambda_proto_core. Its functions block, and may change errno. They connect again and wait as
 * layer one says, for LAMBDA_PROTO_PATIENCE_MS at most, and log warnings as lines to standard
 * error; see lambda_proto_runtime_log(). Writing to the socket raises no SIGPIPE.
 *
 * Only _next() and _restore_next() can be interrupted: they return INTERRUPTED when a signal
 * handler without SA_RESTART has run during their system calls, as soon as nothing is in flight; an
 * attempt to connect that has begun ends first. Nothing is lost: call the same function again, or
 * stop. A handler that runs between two system calls, even just before the wait, does not interrupt
 * it: a program that has to stop at one signal ends itself in the handler, or lets the signal come
 * again.
 *
 * After ENDED, UNREACHABLE or SYSTEM the session is over, and the runtime uses no memory of the
 * program any more: close it, and exit with a code other than 0.
 *
 * Several slots have a runtime each, in a thread of its own; lambda_proto_runtime_share_outage() lets
 * them give up together. After ENDED, UNREACHABLE or SYSTEM in one slot, exit the process; the service
 * starts another one with all slots. */
typedef struct lambda_proto_runtime lambda_proto_runtime;

/* Makes a runtime. An `address` of NULL is the value of AWS_LAMBDA_RUNTIME_API; `user_agent` as for
 * lambda_proto_client_init(). A runtime with several slots opens one for each, in a thread of its
 * own. Nothing is sent yet. Errors: NULL, LENGTH, UTF8, ADDRESS, USER_AGENT, ARGUMENT, ENVIRONMENT,
 * SYSTEM (ENOMEM). */
int32_t lambda_proto_runtime_open(lambda_proto_runtime **runtime,
                                  const char *address, size_t address_length,
                                  const char *user_agent, size_t user_agent_length,
                                  size_t slots);

/* Lets a slot share what is known of outages with `other`, another slot of this program, before it
 * has connected. The service counts on every slot, so one that cannot connect goes on trying while
 * another one has a connection; all of them return UNREACHABLE when none has had one for as long as
 * their patience. The log says once for all of them that the service cannot be reached. Each still
 * waits for its own attempts.
 *
 * Without this call, a runtime knows nothing of others, and gives up by itself. `other` may be in use
 * in another thread, but may not be closed during this call. Which of them is closed first afterwards
 * does not matter. Errors: NULL, PHASE (`runtime` has connected, or has tried to). */
int32_t lambda_proto_runtime_share_outage(lambda_proto_runtime *runtime,
                                          lambda_proto_runtime *other);

/* Waits for the next invocation, without a time limit, and hands out its event, which is valid until
 * the answer to it has been sent. If the previous invocation was not answered, reports that first.
 * A runtime with several slots that receives an invalid reply pauses for a second and begins a new
 * session. Errors: NULL, PHASE (_restore_next() was interrupted: call that again), ENDED,
 * UNREACHABLE, SYSTEM, INTERRUPTED. */
int32_t lambda_proto_runtime_next(lambda_proto_runtime *runtime,
                                  const uint8_t **event, size_t *length);

/* The client, for its facts, fields, receipt and end; NULL for a bad handle. Do not pass it to
 * functions that take a client that is not const. */
const lambda_proto_client *lambda_proto_runtime_client(const lambda_proto_runtime *runtime);

/* Sends the response, and returns when the service has replied; the event is invalid then. The body
 * may be the event. A refusal is not an error, but is logged, and lambda_proto_client_receipt() has
 * it. With `pipelined` other than 0, it also asks for the next invocation, as in
 * lambda_proto_client_respond(), and returns when both are written.
 *
 * Errors: NULL, LENGTH, CONTENT_TYPE (after these the invocation is still unanswered), PHASE, ENDED,
 * UNREACHABLE, SYSTEM (such as EFAULT: the body cannot be read). */
int32_t lambda_proto_runtime_respond(lambda_proto_runtime *runtime,
                                     const char *content_type, size_t content_type_length,
                                     const void *body, size_t body_length, int32_t pipelined);

/* Streams the response: begin, any number of writes, end. A write returns when the piece has been
 * written to the socket. A stream is ended by _stream_end() or _fail(). Errors: as _respond(); also
 * STREAM_OVER, if the service accepts no more of it: ask for the next invocation. */
int32_t lambda_proto_runtime_stream_begin(lambda_proto_runtime *runtime,
                                          const char *content_type, size_t content_type_length);
int32_t lambda_proto_runtime_stream_write(lambda_proto_runtime *runtime,
                                          const void *piece, size_t length);
int32_t lambda_proto_runtime_stream_end(lambda_proto_runtime *runtime, int32_t pipelined);

/* Reports that the invocation failed, and returns when the service has replied. Arguments as
 * lambda_proto_client_fail(), but texts need not be UTF-8: U+FFFD is sent for each byte that is not.
 * The same is true of _fail_init() and _fail_restore(). Errors: NULL, LENGTH, PHASE (the invocation
 * has been answered), ENDED, UNREACHABLE, SYSTEM. */
int32_t lambda_proto_runtime_fail(lambda_proto_runtime *runtime,
                                  const char *type, size_t type_length,
                                  const char *message, size_t message_length,
                                  const char *trace, size_t trace_length,
                                  const char *cause, size_t cause_length);

/* Reports that the function could not start, before the first _next(). Close the runtime after it,
 * and exit with a code other than 0. */
int32_t lambda_proto_runtime_fail_init(lambda_proto_runtime *runtime,
                                       const char *type, size_t type_length,
                                       const char *message, size_t message_length,
                                       const char *trace, size_t trace_length,
                                       const char *cause, size_t cause_length);

/* SnapStart: tells the service that the environment may be snapshotted, and returns after the
 * restore. Then call _next() or _fail_restore(). Errors: NULL, PHASE, ENDED, UNREACHABLE, SYSTEM,
 * INTERRUPTED. */
int32_t lambda_proto_runtime_restore_next(lambda_proto_runtime *runtime);
int32_t lambda_proto_runtime_fail_restore(lambda_proto_runtime *runtime,
                                          const char *type, size_t type_length,
                                          const char *message, size_t message_length,
                                          const char *trace, size_t trace_length,
                                          const char *cause, size_t cause_length);

/* Limits the body of events, 16 MiB at first; as lambda_proto_client_set_max_event(). */
int32_t lambda_proto_runtime_set_max_event(lambda_proto_runtime *runtime, size_t bytes);

/* How long to try without any connection before UNREACHABLE, in milliseconds;
 * LAMBDA_PROTO_PATIENCE_MS at first. The name of a host is looked up with getaddrinfo(), which has
 * time limits of its own, so an attempt may last longer. Lambda's address is a number. */
int32_t lambda_proto_runtime_set_patience_ms(lambda_proto_runtime *runtime, uint32_t patience_ms);

/* Writes warnings, outages, and why a session has ended, as lines to this file descriptor; -1:
 * nowhere. Standard error (2) at first. */
int32_t lambda_proto_runtime_log(lambda_proto_runtime *runtime, int32_t descriptor);

/* After UNREACHABLE, errno of the last attempt to connect; EHOSTUNREACH if the name of the host cannot
 * be resolved. After SYSTEM, errno of the system call. 0 before. */
int32_t lambda_proto_runtime_errno(const lambda_proto_runtime *runtime);

/* Closes the connection and frees everything; an unanswered invocation is not reported. NULL does
 * nothing. */
void lambda_proto_runtime_close(lambda_proto_runtime *runtime);

/* cdef: up to here. */

#ifdef __cplusplus
}
#endif

#endif
