/* The log. */
#include "blocking.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void blocking_log(const lambda_proto_runtime *runtime, const char *format, ...)
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
