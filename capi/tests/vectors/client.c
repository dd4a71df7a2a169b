/* The function that the vectors for clients require, on layer one: all slots in one thread, in a loop
 * around poll(2). */
#define _POSIX_C_SOURCE 200809L
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EVENT_LIMIT = 16 * 1024 * 1024, FIRST_MEMORY = 4096, WAIT_TO_BEGIN_ANEW_MS = 1000 };

size_t slot_count = 1;

void die(const char *what)
{
    fprintf(stderr, "client: %s\n", what);
    exit(1);
}

int32_t checked(int32_t code)
{
    if (code < 0)
        die(lambda_proto_error_name(code));
    return code;
}

uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- memory */

void grow(struct slot *slot)
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
