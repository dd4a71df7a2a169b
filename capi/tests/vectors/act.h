/* The function that the vectors for clients require (conformance/README.md), without its I/O: what an
 * event asks for, and the documents of its answers. The commands that play the vectors through layer
 * one and layer two share it. */
#ifndef ACT_H
#define ACT_H

#include "json.h"

#include <lambda_proto.h>

#include <stddef.h>

enum act_kind { ACT_ECHO, ACT_DESCRIBE, ACT_FAIL, ACT_PANIC, ACT_ANSWER, ACT_STREAM };

/* What an event asks for. */
struct act {
    enum act_kind kind;
    size_t bytes;                  /* ACT_ANSWER: how often the letter a */
    int has_content_type;          /* ACT_ANSWER, ACT_STREAM */
    struct act_text content_type;
    struct act_text *pieces;       /* ACT_STREAM; the first one of an HTTP response is its prelude */
    size_t piece_count;
    int fails;                     /* ACT_STREAM: after the pieces; always for ACT_FAIL, ACT_PANIC */
    struct act_text error_type, message, stack_trace;
    struct act_block *memory;
};

/* Reads an event. One that is not an act is ACT_ECHO. Ends the process if there is no memory. */
void act_read(struct act *act, const void *event, size_t length);

/* Frees what `act_read` allocated. */
void act_free(struct act *act);

/* Returns a JSON object that says what the client knows of the invocation in flight, to be freed by
 * the caller. Ends the process if there is none. */
struct act_text act_describe(const lambda_proto_client *client);

/* Whether the environment has this variable with the value `fail`. */
int act_is_told_to_fail(const char *variable);

#endif
