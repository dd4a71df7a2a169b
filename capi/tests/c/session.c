/* Sessions and wrong use from C, in memory of exactly the size that is needed. capi/check runs it with
 * sanitizers, and under valgrind, which also sees what the library does. */
#include <lambda_proto.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const char EVENT[] = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n2\r\n\"A\r\n3\r\nda\"\r\n0\r\n\r\n";
static const char ACCEPTED[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n"
                               "{\"status\":\"OK\"}\n";

static lambda_proto_client *client;
static void *memories[3];

static void give(int32_t kind, size_t length)
{
    void *memory = malloc(length > 0 ? length : 1);

    CHECK(memory != NULL);
    CHECK(lambda_proto_client_give_memory(client, kind, memory, length) == LAMBDA_PROTO_OK);
    free(memories[kind]);
    memories[kind] = memory;
}

static void open_client(size_t events, size_t limit)
{
    const size_t size = lambda_proto_client_size();

    client = malloc(size);
    CHECK(lambda_proto_client_init(client, size - 1, "host:1", 6, NULL, 0, 1)
          == LAMBDA_PROTO_ERROR_SHORT);
    CHECK(lambda_proto_client_init(client, size, "host:1", 6, "c/1", 3, 1) == LAMBDA_PROTO_OK);
    CHECK(strcmp(lambda_proto_client_host(client), "host") == 0);
    CHECK(lambda_proto_client_port(client) == 1);
    CHECK(lambda_proto_client_set_max_memory(client, LAMBDA_PROTO_MEMORY_EVENTS, limit)
          == LAMBDA_PROTO_OK);
    give(LAMBDA_PROTO_MEMORY_EVENTS, events);
    give(LAMBDA_PROTO_MEMORY_REQUESTS, LAMBDA_PROTO_REQUEST_MEMORY);
}

static void close_client(void)
{
    CHECK(lambda_proto_client_close(client) == LAMBDA_PROTO_OK);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_ERROR_HANDLE);
    CHECK(lambda_proto_client_close(client) == LAMBDA_PROTO_ERROR_HANDLE);
    free(client);
    free(memories[1]);
    free(memories[2]);
    memories[1] = memories[2] = NULL;
}

static void grow(void)
{
    int32_t kind;
    size_t needed;

    for (kind = LAMBDA_PROTO_MEMORY_EVENTS; kind <= LAMBDA_PROTO_MEMORY_REQUESTS; kind++) {
        CHECK(lambda_proto_client_memory_needed(client, kind, &needed) == LAMBDA_PROTO_OK);
        if (needed > 0)
            give(kind, needed);
    }
}

/* Writes everything, `piece` bytes at a time; returns the last bytes. */
static const char *send_all(size_t piece)
{
    static char sent[4096];
    size_t total = 0;

    for (;;) {
        const uint8_t *parts[3];
        size_t lengths[3], length;
        const int32_t count = lambda_proto_client_unsent(client, parts, lengths);

        CHECK(count >= 0);
        if (count == 0)
            break;
        length = lengths[0] < piece ? lengths[0] : piece;
        CHECK(total + length < sizeof sent);
        memcpy(sent + total, parts[0], length);
        total += length;
        CHECK(lambda_proto_client_sent(client, length) == LAMBDA_PROTO_OK);
    }
    sent[total] = '\0';
    return sent;
}

static void receive(const char *bytes, size_t length, size_t piece)
{
    while (length > 0) {
        uint8_t *room;
        size_t count;
        const int32_t code = lambda_proto_client_room(client, &room, &count);

        if (code == LAMBDA_PROTO_ERROR_MEMORY) {
            grow();
            continue;
        }
        CHECK(code == LAMBDA_PROTO_OK && count > 0);
        count = count < piece ? count : piece;
        count = count < length ? count : length;
        memcpy(room, bytes, count);
        CHECK(lambda_proto_client_received(client, count) == LAMBDA_PROTO_OK);
        bytes += count;
        length -= count;
        if (length > 0)
            CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_READ);
    }
}

/* An invocation whose answer is its event. */
static void invoke(size_t piece)
{
    const uint8_t *event;
    const char *value;
    size_t length;
    int32_t status, code;

    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_IDLE);
    while ((code = lambda_proto_client_ask(client)) == LAMBDA_PROTO_ERROR_MEMORY)
        grow();
    CHECK(code == LAMBDA_PROTO_OK);
    if (lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_CONNECT)
        CHECK(lambda_proto_client_connected(client) == LAMBDA_PROTO_OK);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_WRITE);
    CHECK(strstr(send_all(piece), "/invocation/next HTTP/1.1\r\n") != NULL);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_READ);
    receive(EVENT, sizeof EVENT - 1, piece);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_ANSWER);
    CHECK(lambda_proto_client_event(client, &event, &length) == LAMBDA_PROTO_OK);
    CHECK(length == 5 && memcmp(event, "\"Ada\"", 5) == 0);
    CHECK(lambda_proto_client_field(client, LAMBDA_PROTO_FIELD_REQUEST_ID, &value, &length)
          == LAMBDA_PROTO_OK);
    CHECK(length == 2 && memcmp(value, "7b", 2) == 0);
    CHECK(lambda_proto_client_respond(client, NULL, 0, event, 5, 0) == LAMBDA_PROTO_OK);
    CHECK(lambda_proto_client_respond(client, NULL, 0, event, 5, 0) < 0);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_WRITE);
    CHECK(strstr(send_all(piece), "\r\n\r\n\"Ada\"") != NULL);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_READ);
    receive(ACCEPTED, sizeof ACCEPTED - 1, piece);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_SETTLED);
    CHECK(lambda_proto_client_receipt(client, &status) == LAMBDA_PROTO_RECEIPT_ACCEPTED);
    CHECK(status == 202);
    CHECK(lambda_proto_client_event(client, &event, &length) == LAMBDA_PROTO_ERROR_PHASE);
}

static void an_invocation_works_however_it_is_cut(void)
{
    size_t piece;

    for (piece = 1; piece < sizeof EVENT; piece++) {
        open_client(sizeof EVENT, 0);
        invoke(piece);
        invoke(piece);
        close_client();
        open_client(0, 1 << 20);
        invoke(piece);
        invoke(piece);
        close_client();
    }
}

static void a_failure_is_reported_with_its_warning(void)
{
    const char *text;
    size_t length;

    open_client(4096, 0);
    CHECK(lambda_proto_client_fail_init(client, "A.B", 3, "no\xff", 3, NULL, 0, NULL, 0)
          == LAMBDA_PROTO_ERROR_UTF8);
    CHECK(lambda_proto_client_fail_init(client, "A.B", 3, "no", 2, "a\nb", 3, "{}", 2)
          == LAMBDA_PROTO_OK);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_CONNECT);
    CHECK(lambda_proto_client_connected(client) == LAMBDA_PROTO_OK);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_WRITE);
    CHECK(strstr(send_all(7), "\"stackTrace\":[\"a\",\"b\"]") != NULL);
    receive("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", 47, 5);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_WARNING);
    CHECK(lambda_proto_client_warning(client, &text, &length) == LAMBDA_PROTO_WARNING_REFUSED);
    CHECK(length > 0 && strncmp(text, "init/error was answered with 403", 32) == 0);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_SETTLED);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_END);
    CHECK(lambda_proto_client_end(client, &text, &length) == LAMBDA_PROTO_END_DONE);
    CHECK(lambda_proto_client_ask(client) < 0);
    CHECK(lambda_proto_client_step(client) == LAMBDA_PROTO_STEP_END);
    close_client();
}

static void a_moved_client_is_refused(void)
{
    lambda_proto_client *original, *copy;

    open_client(4096, 0);
    original = client;
    copy = malloc(lambda_proto_client_size());
    memcpy(copy, original, lambda_proto_client_size());
    CHECK(lambda_proto_client_step(copy) == LAMBDA_PROTO_ERROR_HANDLE);
    CHECK(lambda_proto_client_step(NULL) == LAMBDA_PROTO_ERROR_NULL);
    CHECK(lambda_proto_client_host(copy) == NULL);
    free(copy);
    close_client();
}

int main(void)
{
    CHECK(lambda_proto_abi_version() == LAMBDA_PROTO_ABI_VERSION);
    CHECK(strcmp(lambda_proto_error_name(LAMBDA_PROTO_ERROR_PHASE), "LAMBDA_PROTO_ERROR_PHASE")
          == 0);
    errno = 77;
    an_invocation_works_however_it_is_cut();
    a_failure_is_reported_with_its_warning();
    a_moved_client_is_refused();
    CHECK(errno == 77);
    return 0;
}
