// The sessions of one runtime: those that wait for work, and those with an invocation in flight.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "session.h"

namespace aws {
namespace lambda_runtime {
namespace detail {

/// Every call of `runtime` is a call of one session of the pool. An answer goes to the session that
/// has received its invocation. If there is none, because the invocation was received or answered
/// elsewhere, another session adopts it.
class pool {
public:
    pool(const std::string &endpoint, const std::string &user_agent);

    runtime::next_outcome next();
    runtime::post_outcome post(const std::string &request_id, const std::string &attempt_id,
                               const invocation_response &response, bool is_success);
    runtime::post_outcome fail_init(const runtime_response &response);

    /// Whether an invocation with this request id is in flight.
    bool has_in_flight(const std::string &request_id);

private:
    struct flight {
        std::string request_id;
        std::string attempt_id;
        /// Null if the session was given other work.
        std::unique_ptr<session> received_by;
        /// Another attempt was in flight when one of the two was answered, and the caller did not say
        /// which.
        bool is_ambiguous = false;
    };

    /// What belongs to one process.
    struct sessions {
        std::mutex mutex;
        unsigned generation;
        /// Has room for all that may be in it.
        std::vector<std::unique_ptr<session>> idle;
        std::list<flight> in_flight;
        /// The status with which the service has ended the runtime.
        http::response_code end = http::response_code::REQUEST_NOT_MADE;
    };

    std::shared_ptr<sessions> of_this_process();
    std::shared_ptr<sessions> new_sessions();
    std::unique_ptr<session> take_idle(sessions &sessions);
    bool take_for(sessions &sessions, flight &wanted, http::response_code &failure);
    void give_back(sessions &sessions, std::list<flight> &answered);
    void note_end(sessions &sessions, session &session);
    bool has_ended(sessions &sessions, http::response_code &end);

    settings m_settings;
    std::shared_ptr<sessions> m_sessions;
};

} // namespace detail
} // namespace lambda_runtime
} // namespace aws
