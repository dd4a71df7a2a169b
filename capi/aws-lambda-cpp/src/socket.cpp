#include "socket.h"

#include <lambda_proto.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "session.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long an attempt may take, so that one address leaves time for the others.
constexpr milliseconds MAX_ATTEMPT{2000};
/// How long a write waits for room before it looks for an early refusal, in microseconds.
constexpr long UNTIL_A_LOOK = 500000;

/// Waits until the connection is made or refused; 0 or an errno.
int await_connection(int fd)
{
    const auto until = steady_clock::now() + MAX_ATTEMPT;
    for (;;) {
        const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now()).count();
        pollfd waiting = {fd, POLLOUT, 0};
        const int ready = poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
        if (ready > 0)
            break;
        if (ready == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
    }
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

/// Sets what reads and writes rely on; 0 or an errno.
int set_options(int fd)
{
    const timeval until_a_look = {0, UNTIL_A_LOOK};
    const int on = 1, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &until_a_look, sizeof until_a_look) < 0)
        return errno;
    return 0;
}

/// Connects to one address; the socket, or -1 and an errno.
int connect_one(const addrinfo &address, int &error)
{
    // Programs that the function starts must not keep the connection open.
    const int fd = socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address.ai_protocol);
    if (fd < 0) {
        error = errno;
        return -1;
    }
    if (connect(fd, address.ai_addr, address.ai_addrlen) == 0)
        error = 0;
    else if (errno == EINPROGRESS || errno == EINTR)
        error = await_connection(fd);
    else
        error = errno;
    if (error == 0)
        error = set_options(fd);
    if (error == 0)
        return fd;
    close(fd);
    return -1;
}

/// Whether the service has refused the request, or closed the connection, while a write waits.
bool is_refused(int fd)
{
    char beginning[LAMBDA_PROTO_EARLY_REPLY];
    const ssize_t peeked = recv(fd, beginning, sizeof beginning, MSG_PEEK | MSG_DONTWAIT);
    if (peeked < 0)
        return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    return lambda_proto_refuses_early(beginning, static_cast<std::size_t>(peeked)) == 1;
}

} // namespace

int connect_to(const char *host, int port, std::string &reason)
{
    addrinfo hints = {}, *addresses = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    const int code = getaddrinfo(host, std::to_string(port).c_str(), &hints, &addresses);
    if (code != 0) {
        reason = gai_strerror(code);
        return -1;
    }
    int fd = -1, error = EHOSTUNREACH;
    for (const addrinfo *address = addresses; address != nullptr && fd < 0; address = address->ai_next)
        fd = connect_one(*address, error);
    freeaddrinfo(addresses);
    if (fd < 0)
        reason = std::strerror(error);
    return fd;
}

void close_socket(int fd) { close(fd); }

bool is_silent(int fd)
{
    char byte;
    ssize_t peeked;
    do
        peeked = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (peeked < 0 && errno == EINTR);
    return peeked < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

io write_to(int fd, const std::uint8_t *const *parts, const std::size_t *lengths, int count,
            std::size_t &written)
{
    iovec slices[3];
    msghdr message = {};
    for (int index = 0; index < count; index++) {
        slices[index].iov_base = const_cast<std::uint8_t *>(parts[index]); // sendmsg() only reads it
        slices[index].iov_len = lengths[index];
    }
    message.msg_iov = slices;
    message.msg_iovlen = count < 0 ? 0 : static_cast<std::size_t>(count);
    const ssize_t result = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (result > 0) {
        written = static_cast<std::size_t>(result);
        return io::SOME;
    }
    if (result < 0 && errno == EINTR)
        return io::AGAIN;
    if (result < 0 && (errno == EFAULT || errno == EINVAL || errno == ENOMEM))
        return io::MEMORY;
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !is_refused(fd))
        return io::AGAIN;
    return io::FAILED;
}

io read_from(int fd, std::uint8_t *room, std::size_t length, std::size_t &read)
{
    const ssize_t result = recv(fd, room, length, 0);
    if (result >= 0) {
        read = static_cast<std::size_t>(result);
        return io::SOME;
    }
    return errno == EINTR ? io::AGAIN : io::FAILED;
}

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
