/* What the slots of a program share about outages: how long none of them has had a connection, and
 * what the log has said of it. Slots run in threads, so a lock guards it. */
#include "blocking.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct shared_outage {
    pthread_mutex_t lock;
    lambda_proto_outage *outage;
    size_t slots;      /* runtimes that share this */
    size_t connected;  /* those of them that have a connection */
    int is_told;       /* the log has said that there is no connection */
    int is_given_up;   /* the log has said that the patience is over */
};

struct shared_outage *blocking_outage_new(void)
{
    struct shared_outage *shared = calloc(1, sizeof *shared);
    int error = ENOMEM;

    if (shared == NULL)
        return NULL;
    shared->slots = 1;
    shared->outage = malloc(lambda_proto_outage_size());
    if (shared->outage != NULL
        && lambda_proto_outage_init(shared->outage, lambda_proto_outage_size()) >= 0)
        error = pthread_mutex_init(&shared->lock, NULL);
    if (error == 0)
        return shared;
    free(shared->outage);
    free(shared);
    errno = error;
    return NULL;
}

/* Leaves the outage; the last slot frees it. */
static void leave(struct shared_outage *shared)
{
    size_t slots;

    pthread_mutex_lock(&shared->lock);
    slots = --shared->slots;
    pthread_mutex_unlock(&shared->lock);
    if (slots > 0)
        return;
    pthread_mutex_destroy(&shared->lock);
    free(shared->outage);
    free(shared);
}

void blocking_outage_leave(lambda_proto_runtime *runtime)
{
    if (runtime->outage == NULL)
        return;
    pthread_mutex_lock(&runtime->outage->lock);
    /* Another slot may have to say it again. */
    if (runtime->has_told)
        runtime->outage->is_told = 0;
    pthread_mutex_unlock(&runtime->outage->lock);
    leave(runtime->outage);
    runtime->outage = NULL;
}

int32_t lambda_proto_runtime_share_outage(lambda_proto_runtime *runtime,
                                          lambda_proto_runtime *other)
{
    if (runtime == NULL || other == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    if (runtime->began_ms != 0)
        return LAMBDA_PROTO_ERROR_PHASE;
    if (runtime->outage == other->outage)
        return LAMBDA_PROTO_OK;
    pthread_mutex_lock(&other->outage->lock);
    other->outage->slots++;
    pthread_mutex_unlock(&other->outage->lock);
    leave(runtime->outage);
    runtime->outage = other->outage;
    return LAMBDA_PROTO_OK;
}

int blocking_outage_connected(lambda_proto_runtime *runtime)
{
    struct shared_outage *shared = runtime->outage;
    int has_told = runtime->has_told;

    pthread_mutex_lock(&shared->lock);
    (void)lambda_proto_outage_connected(shared->outage);
    shared->connected++;
    shared->is_given_up = 0;
    if (has_told)
        shared->is_told = 0;
    pthread_mutex_unlock(&shared->lock);
    runtime->has_told = 0;
    return has_told;
}

void blocking_outage_lost(lambda_proto_runtime *runtime)
{
    struct shared_outage *shared = runtime->outage;
    uint64_t now = blocking_now_ms();

    pthread_mutex_lock(&shared->lock);
    (void)lambda_proto_outage_lost(shared->outage, now);
    shared->connected--;
    pthread_mutex_unlock(&shared->lock);
}

/* How much of the patience is left; the lock is held. While another slot has a connection there is no
 * limit, because the service counts on every slot. */
static uint64_t left(const lambda_proto_runtime *runtime, uint64_t now)
{
    uint64_t lasted = 0;

    if (runtime->outage->connected > 0)
        return UINT64_MAX;
    (void)lambda_proto_outage_lasted_ms(runtime->outage->outage, now, &lasted);
    return lasted < runtime->patience_ms ? runtime->patience_ms - lasted : 0;
}

uint64_t blocking_patience_left(const lambda_proto_runtime *runtime)
{
    uint64_t result, now = blocking_now_ms();

    pthread_mutex_lock(&runtime->outage->lock);
    result = left(runtime, now);
    pthread_mutex_unlock(&runtime->outage->lock);
    return result;
}

enum failure blocking_outage_failed(lambda_proto_runtime *runtime, uint64_t began_ms, int *is_news)
{
    struct shared_outage *shared = runtime->outage;
    uint64_t now = blocking_now_ms();
    enum failure failure;
    int *is_said;

    pthread_mutex_lock(&shared->lock);
    (void)lambda_proto_outage_failed(shared->outage, began_ms);
    failure = left(runtime, now) == 0 ? GIVE_UP : TRY_AGAIN;
    is_said = failure == GIVE_UP ? &shared->is_given_up : &shared->is_told;
    *is_news = !*is_said;
    *is_said = 1;
    pthread_mutex_unlock(&shared->lock);
    if (failure == TRY_AGAIN && *is_news)
        runtime->has_told = 1;
    return failure;
}
