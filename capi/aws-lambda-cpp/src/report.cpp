#include "report.h"

#include <cstddef>
#include <cstdint>

namespace aws {
namespace lambda_runtime {
namespace detail {

namespace {

int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/// The length of the character of UTF-8 that begins at `at`; 0 if there is none.
std::size_t character_at(const std::string &text, std::size_t at)
{
    const auto byte = [&](std::size_t index) {
        return index < text.size() ? static_cast<unsigned char>(text[index]) : 0u;
    };
    const auto follows = [&](std::size_t index) { return (byte(index) & 0xc0) == 0x80; };
    const unsigned first = byte(at), second = byte(at + 1);
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0 && follows(at + 1))
        return 2;
    // Not longer than necessary, no surrogate, not beyond U+10FFFF.
    if ((first & 0xf0) == 0xe0 && follows(at + 1) && follows(at + 2)
        && !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f))
        return 3;
    if (first >= 0xf0 && first < 0xf5 && follows(at + 1) && follows(at + 2) && follows(at + 3)
        && !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f))
        return 4;
    return 0;
}

void append_code_point(std::string &text, std::uint32_t point)
{
    if (point >= 0xd800 && point < 0xe000)
        point = 0xfffd;
    if (point < 0x80) {
        text += static_cast<char>(point);
    } else if (point < 0x800) {
        text += static_cast<char>(0xc0 | point >> 6);
        text += static_cast<char>(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        text += static_cast<char>(0xe0 | point >> 12);
        text += static_cast<char>(0x80 | (point >> 6 & 0x3f));
        text += static_cast<char>(0x80 | (point & 0x3f));
    } else {
        text += static_cast<char>(0xf0 | point >> 18);
        text += static_cast<char>(0x80 | (point >> 12 & 0x3f));
        text += static_cast<char>(0x80 | (point >> 6 & 0x3f));
        text += static_cast<char>(0x80 | (point & 0x3f));
    }
}

std::string as_utf8(const std::string &text)
{
    std::string valid;
    valid.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = character_at(text, at);
        if (length == 0)
            valid += "\xef\xbf\xbd";
        else
            valid.append(text, at, length);
        at += length == 0 ? 1 : length;
    }
    return valid;
}

/// Reads the members of one object, as far as they can be read. It does not check the JSON: the
/// service gets it as it is.
class scanner {
public:
    explicit scanner(const std::string &json) : m_json(json) {}

    bool is_at(char character)
    {
        while (m_at < m_json.size() && std::string(" \t\r\n").find(m_json[m_at]) != std::string::npos)
            m_at++;
        return m_at < m_json.size() && m_json[m_at] == character;
    }

    bool take(char character)
    {
        const bool is_there = is_at(character);
        m_at += is_there;
        return is_there;
    }

    /// Reads a string, of which the quote is next.
    bool string(std::string &text)
    {
        text.clear();
        for (m_at++; m_at < m_json.size(); m_at++) {
            if (m_json[m_at] == '"') {
                m_at++;
                return true;
            }
            if (m_json[m_at] != '\\')
                text += m_json[m_at];
            else if (++m_at >= m_json.size() || !escape(text))
                return false;
        }
        return false;
    }

    /// Skips any value, however deep.
    bool skip()
    {
        std::string ignored;
        std::size_t depth = 0;
        do {
            if (is_at('"')) {
                if (!string(ignored))
                    return false;
            } else if (is_at('{') || is_at('[')) {
                depth++;
                m_at++;
            } else if (is_at('}') || is_at(']')) {
                if (depth == 0)
                    return true;
                depth--;
                m_at++;
            } else if (depth == 0 && is_at(',')) {
                return true;
            } else if (m_at >= m_json.size()) {
                return false;
            } else {
                m_at++;
            }
        } while (depth > 0 || !(is_at(',') || is_at('}')));
        return true;
    }

private:
    bool escape(std::string &text)
    {
        static const std::string names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
        const std::size_t index = names.find(m_json[m_at]);
        if (index != std::string::npos) {
            text += values[index];
            return true;
        }
        std::uint32_t point, second;
        if (m_json[m_at] != 'u' || !four_digits(point))
            return false;
        if (point >= 0xd800 && point < 0xdc00 && m_json.compare(m_at + 1, 2, "\\u") == 0) {
            const std::size_t before = m_at;
            m_at += 2;
            if (four_digits(second) && second >= 0xdc00 && second < 0xe000)
                point = 0x10000 + ((point - 0xd800) << 10) + (second - 0xdc00);
            else
                m_at = before;
        }
        append_code_point(text, point);
        return true;
    }

    /// Reads the digits after the `u` at the present place, and stops at the last of them.
    bool four_digits(std::uint32_t &number)
    {
        number = 0;
        if (m_at + 4 >= m_json.size())
            return false;
        for (int count = 0; count < 4; count++) {
            const int digit = hex_digit(m_json[m_at + 1]);
            if (digit < 0)
                return false;
            number = number << 4 | static_cast<std::uint32_t>(digit);
            m_at++;
        }
        return true;
    }

    const std::string &m_json;
    std::size_t m_at = 0;
};

} // namespace

failure_report report_of(const std::string &json, const std::string &cause)
{
    failure_report report;
    report.json = as_utf8(json);
    report.cause = as_utf8(cause);
    scanner scanner(report.json);
    std::string name, value;
    if (!scanner.take('{'))
        return report;
    while (scanner.is_at('"')) {
        if (!scanner.string(name) || !scanner.take(':'))
            break;
        const bool is_text = scanner.is_at('"');
        if (!(is_text ? scanner.string(value) : scanner.skip()))
            break;
        if (is_text && name == "errorType")
            report.type = value;
        if (is_text && name == "errorMessage")
            report.message = value;
        if (!scanner.take(','))
            break;
    }
    return report;
}

std::string json_string(const std::string &text)
{
    static const char digits[] = "0123456789abcdef";
    std::string json = "\"";
    for (const char character : as_utf8(text)) {
        const auto byte = static_cast<unsigned char>(character);
        if (character == '"' || character == '\\')
            (json += '\\') += character;
        else if (byte < 0x20 || byte == 0x7f)
            ((json += "\\u00") += digits[byte >> 4]) += digits[byte & 15];
        else
            json += character;
    }
    return json += '"';
}

std::string percent_decoded(const std::string &segment)
{
    std::string decoded;
    for (std::size_t at = 0; at < segment.size(); at++) {
        const int high = at + 2 < segment.size() ? hex_digit(segment[at + 1]) : -1;
        const int low = high < 0 ? -1 : hex_digit(segment[at + 2]);
        if (segment[at] == '%' && low >= 0) {
            decoded += static_cast<char>(high << 4 | low);
            at += 2;
        } else {
            decoded += segment[at];
        }
    }
    return decoded;
}

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
