// Sockets that block, for `session`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace aws {
namespace lambda_runtime {
namespace detail {

/// What became of a read or a write.
enum class io {
    /// Some bytes; for a read perhaps none, at the end of the stream.
    SOME,
    /// Nothing yet: call again.
    AGAIN,
    /// The connection takes or gives no more.
    FAILED,
    /// Another connection would not help.
    MEMORY
};

/// Connects to the first address of the host that accepts; -1 and the reason if none does.
int connect_to(const char *host, int port, std::string &reason);
void close_socket(int fd);

/// Whether the connection is open, and there is nothing to read.
bool is_silent(int fd);

/// Writes some of the slices. A write that waits looks for an early refusal.
io write_to(int fd, const std::uint8_t *const *parts, const std::size_t *lengths, int count,
            std::size_t &written);

/// Reads some bytes, however long that takes.
io read_from(int fd, std::uint8_t *room, std::size_t length, std::size_t &read);

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
