/* A client of layer one with a socket that never blocks, for any event loop: poll.c and libuv.c
 * wait for what it says. */
#ifndef LOOP_H
#define LOOP_H

#include <lambda_proto.h>

#include <netdb.h>
#include <poll.h>

enum loop_state {
    LOOP_WAIT,   /* wait until `fd` has one of `events`, or for `timeout_ms`; then advance again */
    LOOP_ANSWER, /* answer the invocation in flight, or continue its stream; then advance again */
    LOOP_OVER    /* the session is over, and standard error says why; exit */
};

struct loop {
    lambda_proto_client *client;
    lambda_proto_outage *outage;
    int fd;              /* -1: wait for the timeout only */
    short events;        /* POLLIN, POLLOUT */
    int timeout_ms;      /* -1: none */
    unsigned connection; /* another number for each new socket; its old one is closed then */
    int is_connecting;
    struct addrinfo *addresses, *address; /* of the host, and the one to try next; NULL: none */
    uint32_t failed;     /* attempts to connect to all of them, in a row */
    uint64_t tried_ms;   /* when the attempt in progress began */
    uint64_t due_ms;     /* when to try again; 0: no attempt is planned */
};

/* Makes a client at AWS_LAMBDA_RUNTIME_API. Returns 0, or a negative number, with a line on standard
 * error. */
int32_t loop_open(struct loop *loop);

/* Does what the client asks for until there is something to wait for, or to answer. */
enum loop_state loop_advance(struct loop *loop);

void loop_close(struct loop *loop);

#endif
