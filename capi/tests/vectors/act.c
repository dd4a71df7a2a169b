#include "act.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct reader {
    const unsigned char *at, *end;
    struct act_block **memory;
    int depth;
};

/* A text that grows. */
struct buffer {
    char *data;
    size_t length, room;
};

static void no_memory(void)
{
    fputs("act: no memory\n", stderr);
    exit(70);
}

static void no_invocation(void)
{
    fputs("act: no invocation is in flight\n", stderr);
    exit(70);
}

static void *take(struct act_block **memory, size_t size)
{
    struct act_block *block = malloc(sizeof *block + size + 1);
    if (block == NULL)
        no_memory();
    block->next = *memory;
    *memory = block;
    return memset(block + 1, 0, size + 1);
}

static void put(struct buffer *buffer, const void *data, size_t length)
{
    if (buffer->room - buffer->length < length + 1) {
        size_t room = (buffer->length + length + 32) * 2;
        char *data_moved = realloc(buffer->data, room);
        if (data_moved == NULL)
            no_memory();
        buffer->data = data_moved;
        buffer->room = room;
    }
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = 0;
}

static void put_string(struct buffer *buffer, const char *string)
{
    put(buffer, string, strlen(string));
}

/* ---- reading JSON (RFC 8259); each function returns 0 if the text is not JSON */

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) != NULL && *reader->at != 0)
        reader->at++;
}

static int skip(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return 0;
    reader->at += length;
    return 1;
}

/* Returns the length of the UTF-8 sequence at `at`, 0 if it is none (RFC 3629 section 4). */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t length, index;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] == 0xe0) low = 0xa0;
    if (at[0] == 0xed) high = 0x9f;
    if (at[0] == 0xf0) low = 0x90;
    if (at[0] == 0xf4) high = 0x8f;
    if (left < length || at[1] < low || at[1] > high)
        return 0;
    for (index = 2; index < length; index++)
        if (at[index] < 0x80 || at[index] > 0xbf)
            return 0;
    return length;
}

static int read_hex(struct reader *reader, uint32_t *code)
{
    int digit;
    *code = 0;
    if (reader->end - reader->at < 4)
        return 0;
    for (digit = 0; digit < 4; digit++, reader->at++) {
        unsigned char c = *reader->at;
        if (c >= '0' && c <= '9') *code = *code * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f') *code = *code * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') *code = *code * 16 + (c - 'A' + 10);
        else return 0;
    }
    return 1;
}

static size_t encode_utf8(uint32_t code, char *out)
{
    if (code < 0x80)
        return out[0] = (char)code, 1;
    if (code < 0x800)
        return out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3f)), 2;
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static int read_escape(struct reader *reader, char *out, size_t *length)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t code, low;
    if (reader->at == reader->end)
        return 0;
    found = *reader->at != 0 ? strchr(from, *reader->at) : NULL;
    if (found != NULL) {
        out[0] = to[found - from];
        *length = 1;
        reader->at++;
        return 1;
    }
    if (!skip(reader, "u") || !read_hex(reader, &code) || (code >= 0xdc00 && code < 0xe000))
        return 0;
    if (code >= 0xd800 && code < 0xdc00) {
        if (!skip(reader, "\\u") || !read_hex(reader, &low) || low < 0xdc00 || low >= 0xe000)
            return 0;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *length = encode_utf8(code, out);
    return 1;
}

static int read_text(struct reader *reader, struct act_text *text)
{
    size_t used = 0, length;
    const unsigned char *quote = reader->at;
    if (!skip(reader, "\""))
        return 0;
    /* An escaped text is shorter than its escapes. */
    while (quote + 1 < reader->end && quote[1] != '"')
        quote += quote[1] == '\\' && quote + 2 < reader->end ? 2 : 1;
    text->data = take(reader->memory, (size_t)(quote + 2 - reader->at) + 4);
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\') {
            reader->at++;
            if (!read_escape(reader, text->data + used, &length))
                return 0;
        } else {
            length = utf8_length(reader->at, (size_t)(reader->end - reader->at));
            if (length == 0 || *reader->at < 0x20)
                return 0;
            memcpy(text->data + used, reader->at, length);
            reader->at += length;
        }
        used += length;
    }
    text->length = used;
    return skip(reader, "\"");
}

static size_t skip_digits(struct reader *reader)
{
    const unsigned char *start = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return (size_t)(reader->at - start);
}

static int read_number(struct reader *reader, struct act_text *text)
{
    const unsigned char *start = reader->at;
    skip(reader, "-");
    if (!skip(reader, "0") && skip_digits(reader) == 0)
        return 0;
    if (skip(reader, ".") && skip_digits(reader) == 0)
        return 0;
    if (skip(reader, "e") || skip(reader, "E")) {
        if (!skip(reader, "-"))
            skip(reader, "+");
        if (skip_digits(reader) == 0)
            return 0;
    }
    text->length = (size_t)(reader->at - start);
    text->data = take(reader->memory, text->length);
    memcpy(text->data, start, text->length);
    return 1;
}

static struct json *read_value(struct reader *reader);

/* Reads the rest of a list or an object. */
static int read_members(struct reader *reader, struct json *value, const char *close)
{
    struct json **link = &value->first;
    skip_space(reader);
    if (skip(reader, close))
        return 1;
    for (;;) {
        struct act_text name = {NULL, 0};
        skip_space(reader);
        if (value->type == JSON_OBJECT) {
            if (!read_text(reader, &name))
                return 0;
            skip_space(reader);
            if (!skip(reader, ":"))
                return 0;
        }
        *link = read_value(reader);
        if (*link == NULL)
            return 0;
        (*link)->name = name;
        link = &(*link)->next;
        skip_space(reader);
        if (skip(reader, close))
            return 1;
        if (!skip(reader, ","))
            return 0;
    }
}

static struct json *read_value(struct reader *reader)
{
    struct json *value = take(reader->memory, sizeof *value);
    int is_valid;
    skip_space(reader);
    if (reader->at == reader->end || ++reader->depth > 64)
        return NULL;
    if (*reader->at == '"') {
        value->type = JSON_TEXT;
        is_valid = read_text(reader, &value->text);
    } else if (skip(reader, "[")) {
        value->type = JSON_LIST;
        is_valid = read_members(reader, value, "]");
    } else if (skip(reader, "{")) {
        value->type = JSON_OBJECT;
        is_valid = read_members(reader, value, "}");
    } else if (skip(reader, "null")) {
        value->type = JSON_NULL;
        is_valid = 1;
    } else if (skip(reader, "true")) {
        value->type = JSON_TRUE;
        is_valid = 1;
    } else if (skip(reader, "false")) {
        value->type = JSON_FALSE;
        is_valid = 1;
    } else {
        value->type = JSON_NUMBER;
        is_valid = read_number(reader, &value->text);
    }
    reader->depth--;
    return is_valid ? value : NULL;
}

/* ---- members of an act; each function returns 0 if a member has the wrong type */

static const struct json *member(const struct json *object, const char *name)
{
    const struct json *it;
    if (object->type != JSON_OBJECT)
        return NULL;
    for (it = object->first; it != NULL; it = it->next)
        if (it->name.length == strlen(name) && memcmp(it->name.data, name, it->name.length) == 0)
            return it;
    return NULL;
}

static int is_text(const struct json *value, const char *text)
{
    return value != NULL && value->type == JSON_TEXT && value->text.length == strlen(text)
        && memcmp(value->text.data, text, value->text.length) == 0;
}

static int text_of(const struct json *value, struct act_text *text)
{
    if (value == NULL || value->type != JSON_TEXT)
        return 0;
    *text = value->text;
    return 1;
}

static int size_of(const struct json *value, size_t *size)
{
    size_t index;
    if (value == NULL || value->type != JSON_NUMBER || value->text.length > 15)
        return 0;
    *size = 0;
    for (index = 0; index < value->text.length; index++) {
        if (value->text.data[index] < '0' || value->text.data[index] > '9')
            return 0;
        *size = *size * 10 + (size_t)(value->text.data[index] - '0');
    }
    return 1;
}

static struct act_text repeated(struct act *act, struct act_text text, size_t times)
{
    struct act_text all = {NULL, text.length * times};
    size_t index;
    all.data = take(&act->memory, all.length);
    for (index = 0; text.length > 0 && index < times; index++)
        memcpy(all.data + index * text.length, text.data, text.length);
    return all;
}

static int fail_of(struct act *act, const struct json *value)
{
    const struct json *times = member(value, "times"), *trace = member(value, "stack_trace");
    size_t count = 1;
    if (!text_of(member(value, "type"), &act->error_type)
        || !text_of(member(value, "message"), &act->message)
        || (trace != NULL && !text_of(trace, &act->stack_trace))
        || (times != NULL && !size_of(times, &count)))
        return 0;
    act->message = repeated(act, act->message, count);
    act->fails = 1;
    return 1;
}

/* Appends the pieces, each of which is a text or a repetition. */
static int pieces_of(struct act *act, const struct json *list)
{
    const struct json *it;
    size_t times;
    struct act_text text;
    if (list == NULL || list->type != JSON_LIST)
        return 0;
    for (it = list->first; it != NULL; it = it->next) {
        if (text_of(it, &text))
            act->pieces[act->piece_count++] = text;
        else if (text_of(member(it, "repeat"), &text) && size_of(member(it, "times"), &times))
            act->pieces[act->piece_count++] = repeated(act, text, times);
        else
            return 0;
    }
    return 1;
}

static size_t count_of(const struct json *list)
{
    size_t count = 0;
    const struct json *it;
    for (it = list != NULL ? list->first : NULL; it != NULL; it = it->next)
        count++;
    return count;
}

/* ---- writing JSON */

static void put_json(struct buffer *buffer, const void *data, size_t length)
{
    const unsigned char *at = data, *end = at + length;
    char escape[8];
    put_string(buffer, "\"");
    while (at < end) {
        size_t sequence = utf8_length(at, (size_t)(end - at));
        if (sequence == 0) {
            put_string(buffer, "\xef\xbf\xbd"); /* U+FFFD */
            sequence = 1;
        } else if (*at == '"' || *at == '\\' || *at < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", *at);
            put_string(buffer, escape);
        } else {
            put(buffer, at, sequence);
        }
        at += sequence;
    }
    put_string(buffer, "\"");
}

/* Whether the value may stand in a header field (RFC 9110 section 5.5). */
static int is_field_value(struct act_text text)
{
    size_t index;
    for (index = 0; index < text.length; index++)
        if ((unsigned char)text.data[index] < 0x20 && text.data[index] != '\t')
            return 0;
    return 1;
}

static int prelude_of(struct act *act, const struct json *value)
{
    const struct json *it, *headers = member(value, "headers"), *cookies = member(value, "cookies");
    struct buffer buffer = {NULL, 0, 0};
    struct act_text text, name;
    const char *separator = "";
    size_t status;
    int is_valid = 1;
    char number[64];
    if (!size_of(member(value, "status"), &status))
        return 0;
    snprintf(number, sizeof number, "{\"statusCode\":%lu,\"headers\":{", (unsigned long)status);
    put_string(&buffer, number);
    for (it = headers != NULL ? headers->first : NULL; it != NULL; it = it->next) {
        if (!text_of(it->first, &name) || !text_of(it->first->next, &text))
            return free(buffer.data), 0;
        is_valid = is_valid && is_field_value(name) && is_field_value(text);
        put_string(&buffer, separator);
        put_json(&buffer, name.data, name.length);
        put_string(&buffer, ":");
        put_json(&buffer, text.data, text.length);
        separator = ",";
    }
    put_string(&buffer, "},\"cookies\":[");
    separator = "";
    for (it = cookies != NULL ? cookies->first : NULL; it != NULL; it = it->next) {
        if (!text_of(it, &text))
            return free(buffer.data), 0;
        is_valid = is_valid && is_field_value(text);
        put_string(&buffer, separator);
        put_json(&buffer, text.data, text.length);
        separator = ",";
    }
    put_string(&buffer, "]}");
    put(&buffer, "\0\0\0\0\0\0\0\0", 8);
    text.data = buffer.data;
    text.length = buffer.length;
    act->pieces[act->piece_count++] = repeated(act, text, 1);
    free(buffer.data);
    if (!is_valid) {
        static char error_type[] = "Function.Error", message[] = "a header has a control character";
        act->kind = ACT_FAIL;
        act->fails = 1;
        act->error_type = (struct act_text){error_type, sizeof error_type - 1};
        act->message = (struct act_text){message, sizeof message - 1};
    }
    return 1;
}

/* ---- */

static int stream_of(struct act *act, const struct json *value, int is_http)
{
    static char http[] = "application/vnd.awslambda.http-integration-response";
    const struct json *chunks = member(value, "chunks"), *fail = member(value, "fail");
    act->kind = ACT_STREAM;
    act->has_content_type = 1;
    act->pieces = take(&act->memory, (count_of(chunks) + 1) * sizeof *act->pieces);
    if (is_http) {
        act->content_type = (struct act_text){http, sizeof http - 1};
        return prelude_of(act, value) && (chunks == NULL || pieces_of(act, chunks));
    }
    return text_of(member(value, "content_type"), &act->content_type) && pieces_of(act, chunks)
        && (fail == NULL || fail->type == JSON_NULL || fail_of(act, fail));
}

static int act_of(struct act *act, const struct json *value)
{
    static char panic_type[] = "Function.Panic";
    const struct json *what = member(value, "do"), *content_type;
    if (is_text(what, "describe")) {
        act->kind = ACT_DESCRIBE;
        return 1;
    }
    if (is_text(what, "fail")) {
        act->kind = ACT_FAIL;
        return fail_of(act, value);
    }
    if (is_text(what, "panic")) {
        act->kind = ACT_PANIC;
        act->fails = 1;
        act->error_type = (struct act_text){panic_type, sizeof panic_type - 1};
        return text_of(member(value, "message"), &act->message);
    }
    if (is_text(what, "answer")) {
        act->kind = ACT_ANSWER;
        content_type = member(value, "content_type");
        act->has_content_type = content_type != NULL && content_type->type != JSON_NULL;
        return size_of(member(value, "bytes"), &act->bytes)
            && (!act->has_content_type || text_of(content_type, &act->content_type));
    }
    if (is_text(what, "stream"))
        return stream_of(act, value, 0);
    if (is_text(what, "http"))
        return stream_of(act, value, 1);
    return 0;
}

void act_read(struct act *act, const void *event, size_t length)
{
    static char nothing[] = "";
    static const struct act echo = {
        ACT_ECHO, 0, 0, {nothing, 0}, NULL, 0, 0, {nothing, 0}, {nothing, 0}, {nothing, 0}, NULL};
    struct reader reader = {event, (const unsigned char *)event + length, &act->memory, 0};
    struct act_block *memory;
    struct json *value;
    *act = echo;
    /* An act is an object. */
    if (length == 0 || *reader.at != '{')
        return;
    value = read_value(&reader);
    skip_space(&reader);
    if (value != NULL && reader.at == reader.end && act_of(act, value))
        return;
    memory = act->memory;
    *act = echo;
    act->memory = memory;
}

void act_free(struct act *act)
{
    while (act->memory != NULL) {
        struct act_block *next = act->memory->next;
        free(act->memory);
        act->memory = next;
    }
}

/* Appends a member; a null `data` is the JSON null. */
static void put_member(struct buffer *buffer, const char *name, const void *data, size_t length)
{
    put_string(buffer, buffer->length > 1 ? "," : "");
    put_json(buffer, name, strlen(name));
    put_string(buffer, ":");
    if (data == NULL)
        put_string(buffer, "null");
    else
        put_json(buffer, data, length);
}

struct act_text act_describe(const lambda_proto_client *client)
{
    static const struct {
        const char *name;
        int32_t field;
    } fields[] = {
        {"request_id", LAMBDA_PROTO_FIELD_REQUEST_ID},
        {"attempt_id", LAMBDA_PROTO_FIELD_ATTEMPT_ID},
        {"function_arn", LAMBDA_PROTO_FIELD_FUNCTION_ARN},
        {"trace_id", LAMBDA_PROTO_FIELD_TRACE_ID},
        {"client_context", LAMBDA_PROTO_FIELD_CLIENT_CONTEXT},
        {"cognito_identity", LAMBDA_PROTO_FIELD_COGNITO_IDENTITY},
        {"tenant_id", LAMBDA_PROTO_FIELD_TENANT_ID},
        {"content_type", LAMBDA_PROTO_FIELD_CONTENT_TYPE},
    };
    struct buffer buffer = {NULL, 0, 0};
    struct act_text text;
    uint64_t deadline;
    char number[32];
    size_t index;

    put_string(&buffer, "{");
    for (index = 0; index < sizeof fields / sizeof *fields; index++) {
        const char *value;
        size_t length;

        if (lambda_proto_client_field(client, fields[index].field, &value, &length) < 0)
            no_invocation();
        put_member(&buffer, fields[index].name, value, length);
    }
    if (lambda_proto_client_deadline_ms(client, &deadline) < 0)
        no_invocation();
    snprintf(number, sizeof number, "%llu", (unsigned long long)deadline);
    put_string(&buffer, ",\"deadline_ms\":");
    put_string(&buffer, deadline > 0 ? number : "null");
    put_string(&buffer, "}");
    text.data = buffer.data;
    text.length = buffer.length;
    return text;
}

int act_is_told_to_fail(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && strcmp(value, "fail") == 0;
}
