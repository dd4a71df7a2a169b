/* Time. */
#include "blocking.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

uint64_t blocking_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int blocking_sleep_ms(uint64_t ms)
{
    struct timespec left;
    int result = 0;

    left.tv_sec = (time_t)(ms / 1000);
    left.tv_nsec = (long)(ms % 1000) * 1000000;
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        result = -1;
    return result;
}

uint32_t blocking_random(const lambda_proto_runtime *runtime)
{
    struct timespec now;
    uint64_t mixed;

    clock_gettime(CLOCK_REALTIME, &now);
    mixed = (uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 32) ^ (uint64_t)(uintptr_t)runtime;
    mixed *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32);
}
