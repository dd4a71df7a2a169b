/* The parts of the program that plays the vectors through layer one: a slot, what its function does
 * (function.c), its socket (socket.c), and the loop around all slots (client.c). */
#ifndef CLIENT_H
#define CLIENT_H

#include "act.h"

#include <lambda_proto.h>

#include <stddef.h>
#include <stdint.h>

#define TEXT(literal) (literal), sizeof(literal) - 1
#define NONE NULL, 0

enum waiting { FOR_NOTHING, FOR_TIME, FOR_CONNECTION, FOR_WRITING, FOR_READING };

struct slot {
    lambda_proto_client *client;
    void *memories[3];
    int socket;
    enum waiting waiting;
    uint64_t due;     /* FOR_TIME */
    uint64_t began;   /* the attempt to connect */
    uint32_t failed;
    int is_connecting;
    int looked;       /* a reply has begun that does not refuse the answer */
    int has_ended;
    struct act act;
    int has_act;
    size_t piece;
    char *body;
};

/* ---- client.c */

extern size_t slot_count;

/* Ends the process with a message. */
void die(const char *what);

/* Ends the process for a code that only a mistake in this program causes. */
int32_t checked(int32_t code);

/* A reading of a monotonic clock. */
uint64_t now_ms(void);

/* Gives the client the memory that it needs; without memory it has to do with what it has. */
void grow(struct slot *slot);

/* Runs a command again until it has its memory. */
#define GROWING(slot, code, call)                                                                  \
    do {                                                                                           \
        (code) = (call);                                                                           \
        if ((code) == LAMBDA_PROTO_ERROR_MEMORY)                                                   \
            grow(slot);                                                                            \
    } while ((code) == LAMBDA_PROTO_ERROR_MEMORY)

/* ---- function.c */

/* Whether the client asks for a restore, or has done so. */
extern int may_restore;

/* Answers the invocation in flight, or continues its stream. */
void answer(struct slot *slot);

/* Does what follows when nothing is outstanding. */
void go_on(struct slot *slot);

/* Forgets the act of an invocation that is over. */
void end_act(struct slot *slot);

/* Whether the environment is to be snapshotted. */
int is_snapshot(void);

/* ---- socket.c */

/* The outage of all slots. */
extern lambda_proto_outage *outage;

/* Each does what the step asks for, or sets what the slot waits for. */
void connect_step(struct slot *slot);
void write_step(struct slot *slot);
void read_step(struct slot *slot);

/* Closes the connection, if there is one. */
void hang_up(struct slot *slot);

#endif
