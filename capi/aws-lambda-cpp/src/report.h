// Error reports: what a program wrote, and what it did not.
#pragma once

#include <string>

#include "session.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

/// The report that this JSON is, with the type and the message in it. Both are empty if the JSON is not
/// an object that has them. Bytes that are not UTF-8 become U+FFFD.
failure_report report_of(const std::string &json, const std::string &cause);

/// Text as a string of JSON, with its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(const std::string &text);

/// Undoes the percent-encoding of a segment of a path. A percent sign without two digits stays.
std::string percent_decoded(const std::string &segment);

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
