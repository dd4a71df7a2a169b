/* A bootstrap over layer one in a loop around poll(2), beside whatever else the program polls. */
#define _POSIX_C_SOURCE 200809L
#include "function.h"
#include "loop.h"

#include <stdio.h>

int main(void)
{
    struct loop loop;
    struct pollfd descriptors[1]; /* and those of the program */
    int32_t code;

    if (loop_open(&loop) < 0)
        return 1;
    for (;;) {
        switch (loop_advance(&loop)) {
        case LOOP_ANSWER:
            code = answer(loop.client);
            /* After RECONNECT the service accepts no more of the stream, as the next step says. */
            if (code < 0 && code != LAMBDA_PROTO_ERROR_RECONNECT) {
                fprintf(stderr, "bootstrap: %s\n", lambda_proto_error_text(code));
                return 1;
            }
            break;
        case LOOP_WAIT:
            descriptors[0].fd = loop.fd; /* poll() skips -1 */
            descriptors[0].events = loop.events;
            poll(descriptors, 1, loop.timeout_ms);
            break;
        case LOOP_OVER:
            loop_close(&loop);
            return 1;
        }
    }
}
