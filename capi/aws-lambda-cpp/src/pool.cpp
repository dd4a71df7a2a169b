#include "pool.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <pthread.h>

#include "report.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

namespace {

using http::response_code;

/// How many sessions are kept that have nothing to do, beyond one for each slot.
constexpr std::size_t SPARE_SESSIONS = 2;
/// How many invocations are remembered whose session was given other work. If one of them is answered
/// after all, its answer carries the id of its attempt.
constexpr std::size_t REMEMBERED = 256;

/// The longest id that core accepts.
constexpr std::size_t MAX_ID = 256;

/// How often this process or one that it comes from was forked. Python makes its client before it
/// forks its workers, and no two processes may use the same connection.
std::atomic<unsigned> generation(0);

void count_fork() { generation.fetch_add(1); }

void watch_forks()
{
    static const int watched = pthread_atfork(nullptr, nullptr, count_fork);
    (void)watched;
}

std::size_t slots()
{
    const char *value = std::getenv("AWS_LAMBDA_MAX_CONCURRENCY");
    std::size_t slots = 1;
    if (value != nullptr && lambda_proto_slots(value, std::string(value).size(), &slots) < 0)
        log("AWS_LAMBDA_MAX_CONCURRENCY is not a number: one invocation at a time");
    return slots;
}

/// Whether this is a user agent; others are replaced by that of lambda_proto.
bool is_user_agent(const std::string &text)
{
    for (const char character : text)
        if (character < '!' || character > '~')
            return false;
    return !text.empty() && text.size() <= 128;
}

} // namespace

pool::pool(const std::string &endpoint, const std::string &user_agent)
    : m_settings{endpoint, is_user_agent(user_agent) ? user_agent : std::string(), slots()}
{
    watch_forks();
    m_sessions = new_sessions();
}

std::shared_ptr<pool::sessions> pool::new_sessions()
{
    auto fresh = std::make_shared<sessions>();
    fresh->generation = generation;
    fresh->idle.reserve(m_settings.slots + SPARE_SESSIONS);
    return fresh;
}

/// The sessions; new ones in a process that was forked since.
std::shared_ptr<pool::sessions> pool::of_this_process()
{
    std::shared_ptr<sessions> present = std::atomic_load(&m_sessions);
    while (present->generation != generation) {
        const std::shared_ptr<sessions> fresh = new_sessions();
        if (!std::atomic_compare_exchange_strong(&m_sessions, &present, fresh))
            continue;
        // Close what was inherited. The lock is free unless another thread was at work when the
        // process was forked; what it had is left alone, and so is the lock, which nobody opens.
        if (present->mutex.try_lock())
            present->mutex.unlock();
        else
            new std::shared_ptr<sessions>(present);
        return fresh;
    }
    return present;
}

bool pool::has_ended(sessions &sessions, response_code &end)
{
    const std::lock_guard<std::mutex> guard(sessions.mutex);
    end = sessions.end;
    return end != response_code::REQUEST_NOT_MADE;
}

void pool::note_end(sessions &sessions, session &session)
{
    const response_code end = session.end_of_runtime();
    if (end == response_code::REQUEST_NOT_MADE)
        return;
    const std::lock_guard<std::mutex> guard(sessions.mutex);
    sessions.end = end;
}

/// A session for `next`.
std::unique_ptr<session> pool::take_idle(sessions &sessions)
{
    std::unique_ptr<session> taken;
    {
        const std::lock_guard<std::mutex> guard(sessions.mutex);
        // The service has at most one invocation in flight for each slot. So most of these were
        // answered elsewhere, and the oldest is the likeliest. If it is answered here after all,
        // another session adopts it.
        const std::size_t most = m_settings.slots == 1 ? 1 : 2 * m_settings.slots;
        std::size_t held = 0;
        for (const flight &flight : sessions.in_flight)
            held += flight.received_by != nullptr;
        for (flight &flight : sessions.in_flight) {
            if (held <= most)
                break;
            if (flight.received_by != nullptr) {
                flight.received_by.reset();
                held--;
            }
        }
        while (sessions.in_flight.size() > most + REMEMBERED)
            sessions.in_flight.pop_front();
        if (!sessions.idle.empty()) {
            taken = std::move(sessions.idle.back());
            sessions.idle.pop_back();
            return taken;
        }
        for (flight &flight : sessions.in_flight)
            if (held >= most && flight.received_by != nullptr) {
                taken = std::move(flight.received_by);
                break;
            }
    }
    if (taken == nullptr)
        return std::unique_ptr<session>(new session(m_settings));
    taken->begin_anew();
    return taken;
}

/// Finds a session for an answer to this invocation, and the id of the attempt, if it is known. Fails
/// if there can be no such invocation, or if the runtime has ended and the class has not received it;
/// then `failure` is what the caller gets.
bool pool::take_for(sessions &sessions, flight &wanted, response_code &failure)
{
    const std::string &request_id = wanted.request_id;
    std::string &attempt_id = wanted.attempt_id;
    std::unique_ptr<session> &taken = wanted.received_by;
    bool is_ambiguous = false;
    {
        const std::lock_guard<std::mutex> guard(sessions.mutex);
        // The latest attempt, if the caller does not say which.
        const auto found = std::find_if(
            sessions.in_flight.rbegin(), sessions.in_flight.rend(), [&](const flight &flight) {
                return flight.request_id == request_id
                    && (attempt_id.empty() || flight.attempt_id == attempt_id);
            });
        if (found != sessions.in_flight.rend()) {
            // The caller may mean another attempt. So the answer carries no attempt id.
            if (attempt_id.empty()) {
                is_ambiguous = found->is_ambiguous;
                for (flight &other : sessions.in_flight)
                    if (other.request_id == request_id && other.attempt_id != found->attempt_id)
                        is_ambiguous = other.is_ambiguous = true;
            }
            taken = std::move(found->received_by);
            if (!is_ambiguous)
                attempt_id.swap(found->attempt_id);
            sessions.in_flight.erase(std::next(found).base());
            if (taken != nullptr && !is_ambiguous)
                return true;
        } else if (sessions.end != response_code::REQUEST_NOT_MADE) {
            failure = sessions.end;
            return false;
        }
        if (taken == nullptr && !sessions.idle.empty()) {
            taken = std::move(sessions.idle.back());
            sessions.idle.pop_back();
            is_ambiguous = false;
        }
    }
    if (taken != nullptr && is_ambiguous)
        taken->begin_anew(); // it would send the attempt id
    if (taken == nullptr)
        taken.reset(new session(m_settings));
    if (taken->adopt(request_id, attempt_id))
        return true;
    log("a request id that the service cannot have sent");
    failure = response_code::REQUEST_NOT_MADE;
    return false;
}

/// Takes the session back. Needs no memory: there may be none, and what is in flight must stay.
void pool::give_back(sessions &sessions, std::list<flight> &answered)
{
    std::unique_ptr<session> &session = answered.front().received_by;
    // The answer was wrong, and nothing was sent: another one may follow.
    if (session->has_invocation()) {
        const std::lock_guard<std::mutex> guard(sessions.mutex);
        sessions.in_flight.splice(sessions.in_flight.end(), answered);
        return;
    }
    if (!session->is_idle()) {
        note_end(sessions, *session);
        return;
    }
    const std::lock_guard<std::mutex> guard(sessions.mutex);
    if (sessions.idle.size() < m_settings.slots + SPARE_SESSIONS)
        sessions.idle.push_back(std::move(session));
}

runtime::next_outcome pool::next()
{
    const std::shared_ptr<sessions> mine = of_this_process();
    invocation_request request;
    response_code failure;
    if (has_ended(*mine, failure))
        return failure;
    // An invocation that was received must not be lost for want of memory.
    std::list<flight> received(1);
    flight &flight = received.front();
    flight.request_id.reserve(MAX_ID);
    flight.attempt_id.reserve(MAX_ID);
    flight.received_by = take_idle(*mine);
    if (!flight.received_by->next(request, failure)) {
        note_end(*mine, *flight.received_by);
        return failure;
    }
    flight.request_id = request.request_id;
    flight.attempt_id = request.invocation_id;
    const std::lock_guard<std::mutex> guard(mine->mutex);
    mine->in_flight.splice(mine->in_flight.end(), received);
    return runtime::next_outcome(std::move(request));
}

bool pool::has_in_flight(const std::string &request_id)
{
    const std::shared_ptr<sessions> mine = of_this_process();
    const std::lock_guard<std::mutex> guard(mine->mutex);
    for (const flight &flight : mine->in_flight)
        if (flight.request_id == request_id)
            return true;
    return false;
}

runtime::post_outcome pool::post(const std::string &request_id, const std::string &attempt_id,
                                 const invocation_response &response, bool is_success)
{
    const std::shared_ptr<sessions> mine = of_this_process();
    response_code failure;
    // What needs memory comes before the session is taken, which is lost with an exception.
    const failure_report report =
        is_success ? failure_report()
                   : report_of(response.get_payload(), response.get_xray_response());
    std::list<flight> answered(1);
    flight &flight = answered.front();
    flight.request_id = request_id;
    flight.attempt_id = attempt_id;
    if (!take_for(*mine, flight, failure))
        return failure;
    session &session = *flight.received_by;
    const runtime::post_outcome outcome =
        is_success ? session.respond(response.get_content_type(), response.get_payload())
                   : session.fail(report);
    give_back(*mine, answered);
    return outcome;
}

runtime::post_outcome pool::fail_init(const runtime_response &response)
{
    session session(m_settings);
    return session.fail_init(report_of(response.get_payload(), response.get_xray_response()));
}

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
