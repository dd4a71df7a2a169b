/* Error reports. Their texts come from languages in which text need not be UTF-8. */
#include "blocking.h"

#include <stdlib.h>
#include <string.h>

/* The length of the character of UTF-8 with which these bytes begin; 0 if it is none. */
static size_t character(const unsigned char *bytes, size_t length)
{
    size_t needed = bytes[0] < 0x80 ? 1 : bytes[0] < 0xc2 ? 0 : bytes[0] < 0xe0 ? 2
                  : bytes[0] < 0xf0 ? 3 : bytes[0] < 0xf5 ? 4 : 0;
    size_t index;

    if (needed > length)
        return 0;
    for (index = 1; index < needed; index++)
        if ((bytes[index] & 0xc0) != 0x80)
            return 0;
    /* Longer than necessary, a surrogate, or beyond U+10FFFF. */
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f)
        || (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return needed;
}

/* A copy of the text in which U+FFFD stands for each byte that is not UTF-8; the empty text if there
 * is no memory. */
static struct text utf8(struct text text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    struct text copy = {NULL, 0};
    size_t at, length;
    char *bytes;

    if (text.length == 0 || text.length > PTRDIFF_MAX / 3)
        return copy;
    bytes = malloc(3 * text.length);
    copy.start = bytes;
    if (bytes == NULL)
        return copy;
    for (at = 0; at < text.length; at += length == 0 ? 1 : length) {
        length = character((const unsigned char *)text.start + at, text.length - at);
        memcpy(bytes + copy.length, length == 0 ? replacement : text.start + at,
               length == 0 ? 3 : length);
        copy.length += length == 0 ? 3 : length;
    }
    return copy;
}

static int32_t send_report(lambda_proto_runtime *runtime, report_function *send,
                           const struct text texts[4])
{
    int32_t code;

    WITH_MEMORY(runtime, code,
                send(runtime->client, texts[0].start, texts[0].length,
                     texts[1].start, texts[1].length, texts[2].start, texts[2].length,
                     texts[3].start, texts[3].length));
    return code;
}

int32_t blocking_report(lambda_proto_runtime *runtime, report_function *send,
                        const struct text texts[4])
{
    struct text copies[4];
    int32_t code;
    int index;

    if (runtime == NULL)
        return LAMBDA_PROTO_ERROR_NULL;
    code = send_report(runtime, send, texts);
    if (code != LAMBDA_PROTO_ERROR_UTF8)
        return code;
    for (index = 0; index < 4; index++) {
        if (texts[index].length > 0 && texts[index].start == NULL)
            return LAMBDA_PROTO_ERROR_NULL;
        if (texts[index].length > PTRDIFF_MAX)
            return LAMBDA_PROTO_ERROR_LENGTH;
    }
    for (index = 0; index < 4; index++)
        copies[index] = utf8(texts[index]);
    code = send_report(runtime, send, copies);
    for (index = 0; index < 4; index++)
        free((void *)(uintptr_t)copies[index].start);
    return code;
}
