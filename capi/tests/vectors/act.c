#include "act.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_invocation(void)
{
    fputs("act: no invocation is in flight\n", stderr);
    exit(70);
}

/* ---- members of an act; each function returns 0 if a member has the wrong type */

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
    struct act_block *memory;
    const struct json *value;
    *act = echo;
    /* An act is an object. */
    if (length == 0 || *(const char *)event != '{')
        return;
    value = json_read(event, length, &act->memory);
    if (value != NULL && act_of(act, value))
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
