/* JSON (RFC 8259), as far as the function of the vectors reads and writes it. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

/* Bytes, any of which may be NUL. `data` is never a null pointer. */
struct act_text {
    char *data;
    size_t length;
};

/* Memory that is freed together. */
struct act_block {
    struct act_block *next;
};

enum type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };

struct json {
    enum type type;
    struct act_text text;      /* of a text or a number; the name of a member is `name` */
    struct act_text name;
    struct json *first, *next; /* of a list or an object; its sibling */
};

/* A text that grows. */
struct buffer {
    char *data;
    size_t length, room;
};

/* Returns zeroed memory that belongs to the list. Ends the process if there is none. */
void *take(struct act_block **memory, size_t size);

/* ---- reading */

/* Reads a document into the list; NULL if it is not JSON. */
struct json *json_read(const void *document, size_t length, struct act_block **memory);

/* The member of this name; NULL if there is none, or the value is not an object. */
const struct json *member(const struct json *object, const char *name);

/* Whether the value is this text. */
int is_text(const struct json *value, const char *text);

/* Each returns 0 if the value, which may be NULL, has another type. */
int text_of(const struct json *value, struct act_text *text);
int size_of(const struct json *value, size_t *size);

/* ---- writing. Each ends the process if there is no memory. */

void put(struct buffer *buffer, const void *data, size_t length);
void put_string(struct buffer *buffer, const char *string);

/* Appends a text of JSON, with U+FFFD in place of what is not UTF-8. */
void put_json(struct buffer *buffer, const void *data, size_t length);

#endif
