#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const unsigned char *at, *end;
    struct act_block **memory;
    int depth;
};

static void no_memory(void)
{
    fputs("act: no memory\n", stderr);
    exit(70);
}

void *take(struct act_block **memory, size_t size)
{
    struct act_block *block = malloc(sizeof *block + size + 1);
    if (block == NULL)
        no_memory();
    block->next = *memory;
    *memory = block;
    return memset(block + 1, 0, size + 1);
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

struct json *json_read(const void *document, size_t length, struct act_block **memory)
{
    struct reader reader = {document, (const unsigned char *)document + length, memory, 0};
    struct json *value = read_value(&reader);

    skip_space(&reader);
    return reader.at == reader.end ? value : NULL;
}

/* ---- members */

const struct json *member(const struct json *object, const char *name)
{
    const struct json *it;
    if (object->type != JSON_OBJECT)
        return NULL;
    for (it = object->first; it != NULL; it = it->next)
        if (it->name.length == strlen(name) && memcmp(it->name.data, name, it->name.length) == 0)
            return it;
    return NULL;
}

int is_text(const struct json *value, const char *text)
{
    return value != NULL && value->type == JSON_TEXT && value->text.length == strlen(text)
        && memcmp(value->text.data, text, value->text.length) == 0;
}

int text_of(const struct json *value, struct act_text *text)
{
    if (value == NULL || value->type != JSON_TEXT)
        return 0;
    *text = value->text;
    return 1;
}

int size_of(const struct json *value, size_t *size)
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

/* ---- writing JSON */

void put(struct buffer *buffer, const void *data, size_t length)
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

void put_string(struct buffer *buffer, const char *string)
{
    put(buffer, string, strlen(string));
}

void put_json(struct buffer *buffer, const void *data, size_t length)
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
