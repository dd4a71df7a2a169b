/* Invocations through layer one, without a socket: cost N. capi/examples/cost.rs does the same in Rust,
 * and capi/cost/run counts the instructions of both. */
#include <lambda_proto.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char EVENT[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    "Lambda-Runtime-Aws-Request-Id: 8f6ae4d1-c5a0-4e27-9a4c-0f2f3c8b2d5e\r\n"
    "Lambda-Runtime-Deadline-Ms: 1795252820229\r\n"
    "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:123456789012:function:f\r\n"
    "Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n"
    "Date: Mon, 30 Nov 2026 09:00:00 GMT\r\nContent-Length: 128\r\n\r\n"
    "{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
static const char ACCEPTED[] = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
                               "Date: Mon, 30 Nov 2026 09:00:00 GMT\r\nContent-Length: 16\r\n\r\n"
                               "{\"status\":\"OK\"}\n";

static int32_t checked(int32_t code)
{
    if (code < 0) {
        fprintf(stderr, "cost: %s\n", lambda_proto_error_name(code));
        exit(1);
    }
    return code;
}

int main(int argc, char **argv)
{
    const long invocations = argc == 2 ? atol(argv[1]) : 0;
    static uint8_t events[8192];
    static uint8_t requests[4096];
    lambda_proto_client *client = malloc(lambda_proto_client_size());
    long settled = 0;
    size_t written = 0;
    int is_event = 1;

    checked(lambda_proto_client_init(client, lambda_proto_client_size(), "127.0.0.1:9001", 14, NULL, 0,
                                     1));
    checked(lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_EVENTS, events, sizeof events));
    checked(lambda_proto_client_give_memory(client, LAMBDA_PROTO_MEMORY_REQUESTS, requests,
                                            sizeof requests));
    while (settled < invocations) {
        const uint8_t *parts[3], *event;
        size_t lengths[3], length;
        uint8_t *room;
        const char *reply;

        switch (checked(lambda_proto_client_step(client))) {
        case LAMBDA_PROTO_STEP_CONNECT:
            checked(lambda_proto_client_connected(client));
            break;
        case LAMBDA_PROTO_STEP_WRITE:
            checked(lambda_proto_client_unsent(client, parts, lengths));
            length = lengths[0] + lengths[1] + lengths[2];
            written += length;
            checked(lambda_proto_client_sent(client, length));
            break;
        case LAMBDA_PROTO_STEP_READ:
            checked(lambda_proto_client_room(client, &room, &length));
            reply = is_event ? EVENT : ACCEPTED;
            length = is_event ? sizeof EVENT - 1 : sizeof ACCEPTED - 1;
            memcpy(room, reply, length);
            is_event = !is_event;
            checked(lambda_proto_client_received(client, length));
            break;
        case LAMBDA_PROTO_STEP_IDLE:
            checked(lambda_proto_client_ask(client));
            break;
        case LAMBDA_PROTO_STEP_ANSWER:
            checked(lambda_proto_client_event(client, &event, &length));
            checked(lambda_proto_client_respond(client, NULL, 0, event, length, 0));
            break;
        case LAMBDA_PROTO_STEP_SETTLED:
            settled++;
            break;
        default:
            fprintf(stderr, "cost: not a step of a session without failures\n");
            return 1;
        }
    }
    printf("%ld invocations, %lu bytes written\n", settled, (unsigned long)written);
    free(client);
    return 0;
}
