/* What the function of the vectors does at each step of its client. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

int may_restore;

void end_act(struct slot *slot)
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

void answer(struct slot *slot)
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

int is_snapshot(void)
{
    const char *type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");

    return type != NULL && strcmp(type, "snap-start") == 0;
}

void go_on(struct slot *slot)
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
