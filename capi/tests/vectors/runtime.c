/* The function that the vectors for clients require, on layer two: a thread with a runtime of its own
 * for each slot. */
#define _POSIX_C_SOURCE 200809L
#include "act.h"

#include <lambda_proto.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT(literal) (literal), sizeof(literal) - 1
#define NONE NULL, 0

static int32_t fail(lambda_proto_runtime *runtime, struct act_text type, struct act_text message,
                    struct act_text trace)
{
    return lambda_proto_runtime_fail(runtime, type.data, type.length, message.data, message.length,
                                     trace.data, trace.length, NONE);
}

static int32_t respond_as(lambda_proto_runtime *runtime, struct act_text type, const void *body,
                          size_t length)
{
    int32_t code
        = lambda_proto_runtime_respond(runtime, type.data, type.length, body, length, 0);
    if (code == LAMBDA_PROTO_ERROR_CONTENT_TYPE || code == LAMBDA_PROTO_ERROR_UTF8) {
        const char *text = lambda_proto_error_text(code);
        code = lambda_proto_runtime_fail(runtime, TEXT("Function.Error"), text, strlen(text), NONE,
                                         NONE);
    }
    return code;
}

static int32_t describe(lambda_proto_runtime *runtime)
{
    struct act_text text = act_describe(lambda_proto_runtime_client(runtime));
    int32_t code = lambda_proto_runtime_respond(runtime, TEXT("application/json"), text.data,
                                                text.length, 0);

    free(text.data);
    return code;
}

static int32_t stream(lambda_proto_runtime *runtime, const struct act *act)
{
    size_t index;
    int32_t code = lambda_proto_runtime_stream_begin(runtime, act->content_type.data,
                                                     act->content_type.length);
    if (code == LAMBDA_PROTO_ERROR_CONTENT_TYPE)
        return lambda_proto_runtime_fail(runtime, TEXT("Function.Error"), TEXT("content type"), NONE,
                                         NONE);
    for (index = 0; code == LAMBDA_PROTO_OK && index < act->piece_count; index++)
        code = lambda_proto_runtime_stream_write(runtime, act->pieces[index].data,
                                                 act->pieces[index].length);
    if (code == LAMBDA_PROTO_OK && act->fails)
        code = fail(runtime, act->error_type, act->message, act->stack_trace);
    else if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_runtime_stream_end(runtime, 0);
    return code == LAMBDA_PROTO_ERROR_STREAM_OVER ? LAMBDA_PROTO_OK : code;
}

static int32_t perform(lambda_proto_runtime *runtime, const uint8_t *event, size_t length)
{
    const struct act_text none = {NULL, 0};
    struct act act;
    char *body;
    int32_t code = LAMBDA_PROTO_ERROR_SYSTEM;

    act_read(&act, event, length);
    switch (act.kind) {
    case ACT_ECHO:
        code = respond_as(runtime, none, event, length);
        break;
    case ACT_DESCRIBE:
        code = describe(runtime);
        break;
    case ACT_FAIL:
        code = fail(runtime, act.error_type, act.message, act.stack_trace);
        break;
    case ACT_PANIC:
        (void)fail(runtime, act.error_type, act.message, act.stack_trace);
        exit(1);
    case ACT_ANSWER:
        body = malloc(act.bytes + 1);
        if (body != NULL) {
            memset(body, 'a', act.bytes);
            code = respond_as(runtime, act.has_content_type ? act.content_type : none, body,
                              act.bytes);
            free(body);
        }
        break;
    case ACT_STREAM:
        code = stream(runtime, &act);
        break;
    }
    act_free(&act);
    return code;
}

/* ---- slots */

static atomic_int is_stopping, running;

static void do_nothing(int signal)
{
    (void)signal;
}

static int32_t run(lambda_proto_runtime *runtime)
{
    const uint8_t *event;
    size_t length;
    int32_t code = LAMBDA_PROTO_OK;

    while (code == LAMBDA_PROTO_OK && !is_stopping) {
        code = lambda_proto_runtime_next(runtime, &event, &length);
        if (code == LAMBDA_PROTO_ERROR_INTERRUPTED)
            code = LAMBDA_PROTO_OK;
        else if (code == LAMBDA_PROTO_OK)
            code = perform(runtime, event, length);
    }
    return code;
}

static void *run_slot(void *runtime)
{
    int32_t code = run(runtime);

    if (code < 0)
        fprintf(stderr, "a slot has ended: %s\n", lambda_proto_error_text(code));
    lambda_proto_runtime_close(runtime);
    is_stopping = 1;
    running--;
    return NULL;
}

/* Runs a thread for each slot until one of them ends; then the others end, too, once they have
 * answered. A signal interrupts those that wait. */
static void run_slots(size_t slots)
{
    const struct timespec moment = {0, 10 * 1000 * 1000};
    struct sigaction action;
    pthread_t *threads = calloc(slots, sizeof *threads);
    lambda_proto_runtime **runtimes = calloc(slots, sizeof *runtimes);
    size_t index;

    memset(&action, 0, sizeof action);
    action.sa_handler = do_nothing;
    sigaction(SIGUSR1, &action, NULL);
    if (threads == NULL || runtimes == NULL)
        exit(1);
    /* A runtime may be closed as soon as its thread runs, and is shared with before that. */
    for (index = 0; index < slots; index++)
        if (lambda_proto_runtime_open(&runtimes[index], NONE, NONE, slots) < 0
            || lambda_proto_runtime_share_outage(runtimes[index], runtimes[0]) < 0)
            exit(1);
    for (index = 0; index < slots; index++) {
        if (pthread_create(&threads[index], NULL, run_slot, runtimes[index]) != 0)
            exit(1);
        running++;
    }
    while (running > 0) {
        nanosleep(&moment, NULL);
        for (index = 0; is_stopping && index < slots; index++)
            pthread_kill(threads[index], SIGUSR1);
    }
    for (index = 0; index < slots; index++)
        pthread_join(threads[index], NULL);
    free(runtimes);
    free(threads);
}

int main(void)
{
    const char *concurrency = getenv("AWS_LAMBDA_MAX_CONCURRENCY");
    const char *type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
    int is_snapshot = type != NULL && strcmp(type, "snap-start") == 0;
    lambda_proto_runtime *runtime = NULL;
    size_t slots = 1;
    int32_t code = LAMBDA_PROTO_OK;

    if (concurrency != NULL)
        code = lambda_proto_slots(concurrency, strlen(concurrency), &slots);
    if (code == LAMBDA_PROTO_OK)
        code = lambda_proto_runtime_open(&runtime, NONE, NONE, slots);
    if (code == LAMBDA_PROTO_OK && act_is_told_to_fail("CONFORMANCE_START")) {
        (void)lambda_proto_runtime_fail_init(runtime, TEXT("Function.NoStart"),
                                             TEXT("it was to fail"), NONE, NONE);
        code = LAMBDA_PROTO_ERROR_ENDED;
    }
    if (code == LAMBDA_PROTO_OK && is_snapshot
        && act_is_told_to_fail("CONFORMANCE_BEFORE_SNAPSHOT")) {
        (void)lambda_proto_runtime_fail_init(runtime, TEXT("Runtime.BeforeSnapshotError"),
                                             TEXT("it was to fail"), NONE, NONE);
        code = LAMBDA_PROTO_ERROR_ENDED;
    }
    if (code == LAMBDA_PROTO_OK && is_snapshot)
        code = lambda_proto_runtime_restore_next(runtime);
    if (code == LAMBDA_PROTO_OK && is_snapshot
        && act_is_told_to_fail("CONFORMANCE_AFTER_RESTORE")) {
        (void)lambda_proto_runtime_fail_restore(runtime, TEXT("Runtime.AfterRestoreError"),
                                                TEXT("it was to fail"), NONE, NONE);
        code = LAMBDA_PROTO_ERROR_ENDED;
    }
    if (code == LAMBDA_PROTO_OK && slots > 1) {
        lambda_proto_runtime_close(runtime);
        run_slots(slots);
        return 1;
    }
    if (code == LAMBDA_PROTO_OK)
        code = run(runtime);
    fprintf(stderr, "runtime: %s\n", lambda_proto_error_text(code));
    lambda_proto_runtime_close(runtime);
    return 1;
}
