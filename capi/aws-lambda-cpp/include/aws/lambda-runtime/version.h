// The version of this library. Source compatible with the header of this name in aws-lambda-cpp.
#pragma once

namespace aws {
namespace lambda_runtime {

/// The three numbers of the version of lambda-proto, which this library belongs to.
unsigned get_version_major();
unsigned get_version_minor();
unsigned get_version_patch();

/// The version as text, such as "0.1.0"; static.
const char *get_version();

} // namespace lambda_runtime
} // namespace aws
