/* Plays the calls of layer two that its arguments name, and writes a line for each: the call, the
 * name of its result, and what it hands out. The tests are verify/interop/tests/capi/layer_two.rs.
 *
 *   slots=COUNT of what is opened from then on
 *   another: the calls that follow go to the other of two slots          share its outage
 *   open, open=ADDRESS          close              patience=MS        max_event=BYTES
 *   next, restore               log=DESCRIPTOR     signals, quiet     null
 *   respond=BODY, echo          pipeline           respond_as=TYPE
 *   begin, write=PIECE, flood, end                 fail, fail_long    unreadable
 *   alarm=MS until one signal, for which it writes a line               fail_as=MESSAGE
 *   limit=BYTES of address space, or its former limit with 0
 *
 * Every body is on the heap, and freed before the next call. */
#define _XOPEN_SOURCE 700
#include <lambda_proto.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT(literal) (literal), sizeof(literal) - 1
#define NONE NULL, 0

static lambda_proto_runtime *runtime, *other;
static size_t slots = 1;
static const uint8_t *event;
static size_t event_length;
static pid_t child;

static void do_nothing(int signal)
{
    (void)signal;
}

/* Begins to send itself signals, from a child, until end_signals(). */
static void begin_signals(void)
{
    const struct timespec pause = {0, 5 * 1000 * 1000};
    struct sigaction action;
    pid_t parent = getpid();

    memset(&action, 0, sizeof action);
    action.sa_handler = do_nothing;
    sigaction(SIGUSR1, &action, NULL);
    child = fork();
    if (child != 0)
        return;
    while (kill(parent, SIGUSR1) == 0)
        nanosleep(&pause, NULL);
    _exit(0);
}

static void say(int signal)
{
    ssize_t unused = write(STDOUT_FILENO, "signal\n", 7);

    (void)signal;
    (void)unused;
}

/* Sends itself one signal after this time. */
static int32_t set_alarm(long ms)
{
    struct itimerval timer;
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = say;
    sigaction(SIGALRM, &action, NULL);
    memset(&timer, 0, sizeof timer);
    timer.it_value.tv_sec = ms / 1000;
    timer.it_value.tv_usec = ms % 1000 * 1000;
    return setitimer(ITIMER_REAL, &timer, NULL) < 0 ? LAMBDA_PROTO_ERROR_SYSTEM : LAMBDA_PROTO_OK;
}

static void end_signals(void)
{
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* A copy that only lives as long as the call. */
static char *copy_of(const char *text)
{
    char *copy = malloc(strlen(text) + 1);

    if (copy == NULL)
        abort();
    return strcpy(copy, text);
}

/* Passes null pointers to every function; each must refuse them. */
static int32_t pass_null(void)
{
    static const int32_t null = LAMBDA_PROTO_ERROR_NULL;
    lambda_proto_runtime *none = NULL;
    int32_t code;

    lambda_proto_runtime_close(NULL);
    if (lambda_proto_runtime_client(NULL) != NULL)
        return 1;
    if (lambda_proto_runtime_open(NULL, TEXT("a:1"), NONE, 1) != null
        || lambda_proto_runtime_open(&none, NULL, 3, NONE, 1) != null
        || none != NULL)
        return 2;
    if (lambda_proto_runtime_next(NULL, &event, &event_length) != null
        || lambda_proto_runtime_next(runtime, NULL, &event_length) != null
        || lambda_proto_runtime_next(runtime, &event, NULL) != null)
        return 3;
    if (lambda_proto_runtime_respond(NULL, NONE, NONE, 0) != null
        || lambda_proto_runtime_respond(runtime, NONE, NULL, 1, 0) != null
        || lambda_proto_runtime_respond(runtime, NULL, 1, NONE, 0) != null)
        return 4;
    if (lambda_proto_runtime_stream_begin(NULL, TEXT("a/b")) != null
        || lambda_proto_runtime_stream_write(NULL, NONE) != null
        || lambda_proto_runtime_stream_end(NULL, 0) != null
        || lambda_proto_runtime_restore_next(NULL) != null)
        return 5;
    if (lambda_proto_runtime_fail(NULL, NONE, NONE, NONE, NONE) != null
        || lambda_proto_runtime_fail(runtime, NULL, 1, NONE, NONE, NONE) != null
        || lambda_proto_runtime_fail_init(NULL, NONE, NONE, NONE, NONE) != null
        || lambda_proto_runtime_fail_restore(NULL, NONE, NONE, NONE, NONE) != null)
        return 6;
    if (lambda_proto_runtime_log(NULL, 2) != null
        || lambda_proto_runtime_set_max_event(NULL, 1) != null
        || lambda_proto_runtime_set_patience_ms(NULL, 1) != null
        || lambda_proto_runtime_errno(NULL) != null)
        return 7;
    if (lambda_proto_runtime_share_outage(NULL, runtime) != null
        || lambda_proto_runtime_share_outage(runtime, NULL) != null)
        return 9;
    /* A length that no object has. */
    code = lambda_proto_runtime_respond(runtime, NONE, "", (size_t)PTRDIFF_MAX + 1, 0);
    return code == LAMBDA_PROTO_ERROR_LENGTH ? 0 : 8;
}

static int32_t fail_with(size_t length)
{
    char *message = malloc(length);
    int32_t code;

    if (message == NULL)
        abort();
    memset(message, 'm', length);
    code = lambda_proto_runtime_fail(runtime, TEXT("Function.AsAsked"), message, length, NONE, NONE);
    free(message);
    return code;
}

/* Streams a piece that no socket takes before it is read. */
static int32_t flood(void)
{
    const size_t length = 64u * 1024 * 1024;
    char *piece = calloc(1, length);
    int32_t code;

    if (piece == NULL)
        abort();
    code = lambda_proto_runtime_stream_write(runtime, piece, length);
    free(piece);
    return code;
}

/* Limits the address space; with 0, as at first. */
static int32_t limit(unsigned long bytes)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) < 0)
        return LAMBDA_PROTO_ERROR_SYSTEM;
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : (rlim_t)bytes;
    return setrlimit(RLIMIT_AS, &limit) < 0 ? LAMBDA_PROTO_ERROR_SYSTEM : LAMBDA_PROTO_OK;
}

static int32_t play(const char *call, char *argument)
{
    size_t length = argument == NULL ? 0 : strlen(argument);

    if (strcmp(call, "open") == 0)
        return lambda_proto_runtime_open(&runtime, argument, length, NONE, slots);
    if (strcmp(call, "another") == 0) {
        lambda_proto_runtime *before = runtime;

        runtime = other;
        other = before;
        return 0;
    }
    if (strcmp(call, "share") == 0)
        return lambda_proto_runtime_share_outage(runtime, other);
    if (strcmp(call, "close") == 0) {
        lambda_proto_runtime_close(runtime);
        runtime = NULL;
        return 0;
    }
    if (strcmp(call, "next") == 0)
        return lambda_proto_runtime_next(runtime, &event, &event_length);
    if (strcmp(call, "respond") == 0)
        return lambda_proto_runtime_respond(runtime, NONE, argument, length, 0);
    if (strcmp(call, "respond_as") == 0)
        return lambda_proto_runtime_respond(runtime, argument, length, NONE, 0);
    if (strcmp(call, "echo") == 0)
        return lambda_proto_runtime_respond(runtime, NONE, event, event_length, 0);
    if (strcmp(call, "pipeline") == 0)
        return lambda_proto_runtime_respond(runtime, NONE, event, event_length, 1);
    if (strcmp(call, "begin") == 0)
        return lambda_proto_runtime_stream_begin(runtime, TEXT("text/plain"));
    if (strcmp(call, "write") == 0)
        return lambda_proto_runtime_stream_write(runtime, argument, length);
    if (strcmp(call, "flood") == 0)
        return flood();
    if (strcmp(call, "end") == 0)
        return lambda_proto_runtime_stream_end(runtime, 0);
    if (strcmp(call, "fail") == 0)
        return fail_with(3);
    if (strcmp(call, "fail_long") == 0)
        return fail_with(300000);
    if (strcmp(call, "unreadable") == 0) /* no process has its first page */
        return lambda_proto_runtime_respond(runtime, NONE, (const void *)(uintptr_t)8, 8, 0);
    if (strcmp(call, "restore") == 0)
        return lambda_proto_runtime_restore_next(runtime);
    if (strcmp(call, "signals") == 0)
        return begin_signals(), 0;
    if (strcmp(call, "quiet") == 0)
        return end_signals(), 0;
    if (strcmp(call, "null") == 0)
        return pass_null();
    if (argument == NULL)
        return LAMBDA_PROTO_ERROR_ARGUMENT;
    if (strcmp(call, "slots") == 0)
        return slots = (size_t)atoi(argument), 0;
    if (strcmp(call, "patience") == 0)
        return lambda_proto_runtime_set_patience_ms(runtime, (uint32_t)atoi(argument));
    if (strcmp(call, "max_event") == 0)
        return lambda_proto_runtime_set_max_event(runtime, (size_t)atoi(argument));
    if (strcmp(call, "alarm") == 0)
        return set_alarm(atol(argument));
    if (strcmp(call, "fail_as") == 0)
        return lambda_proto_runtime_fail(runtime, TEXT("Function.AsAsked"), argument, length, NONE,
                                         NONE);
    if (strcmp(call, "limit") == 0)
        return limit(strtoul(argument, NULL, 10));
    if (strcmp(call, "log") == 0)
        return lambda_proto_runtime_log(runtime, atoi(argument));
    return LAMBDA_PROTO_ERROR_ARGUMENT;
}

int main(int count, char **arguments)
{
    int index;

    for (index = 1; index < count; index++) {
        char *call = copy_of(arguments[index]), *argument = strchr(call, '=');
        char *own_argument;
        int32_t code;
        if (argument != NULL)
            *argument++ = 0;
        own_argument = argument == NULL ? NULL : copy_of(argument);
        code = play(call, own_argument);
        printf("%s %s", call, code > 0 ? "MORE" : lambda_proto_error_name(code));
        if (strcmp(call, "next") == 0 && code == 0)
            printf(" %.*s", event_length > 64 ? 64 : (int)event_length, (const char *)event);
        if (code == LAMBDA_PROTO_ERROR_UNREACHABLE)
            printf(" %s", lambda_proto_runtime_errno(runtime) == ECONNREFUSED ? "refused" : "other");
        if (code == LAMBDA_PROTO_ERROR_SYSTEM)
            printf(" %s", lambda_proto_runtime_errno(runtime) == EFAULT ? "fault" : "other");
        putchar('\n');
        fflush(stdout);
        free(own_argument);
        free(call);
    }
    lambda_proto_runtime_close(runtime);
    lambda_proto_runtime_close(other);
    return 0;
}
