// Either a result or a failure. Source compatible with the header of this name in aws-lambda-cpp.
#pragma once

#include <cassert>
#include <new>
#include <utility>

namespace aws {
namespace lambda_runtime {

/// The result of a call, or why it failed. Holds one of the two.
template <typename Result, typename Failure>
class outcome {
public:
    outcome(const Result &result) : m_is_success(true) { new (&m_result) Result(result); }
    outcome(Result &&result) : m_is_success(true) { new (&m_result) Result(std::move(result)); }
    outcome(const Failure &failure) : m_is_success(false) { new (&m_failure) Failure(failure); }
    outcome(Failure &&failure) : m_is_success(false) { new (&m_failure) Failure(std::move(failure)); }

    outcome(const outcome &other) : m_is_success(other.m_is_success)
    {
        if (m_is_success)
            new (&m_result) Result(other.m_result);
        else
            new (&m_failure) Failure(other.m_failure);
    }

    outcome(outcome &&other) : m_is_success(other.m_is_success)
    {
        if (m_is_success)
            new (&m_result) Result(std::move(other.m_result));
        else
            new (&m_failure) Failure(std::move(other.m_failure));
    }

    outcome &operator=(outcome) = delete;

    ~outcome()
    {
        if (m_is_success)
            m_result.~Result();
        else
            m_failure.~Failure();
    }

    /// The result. Call it after a success only.
    const Result &get_result() const
    {
        assert(m_is_success);
        return m_result;
    }

    /// Why the call failed. Call it after a failure only.
    const Failure &get_failure() const
    {
        assert(!m_is_success);
        return m_failure;
    }

    /// Whether there is a result.
    bool is_success() const { return m_is_success; }

private:
    union {
        Result m_result;
        Failure m_failure;
    };
    bool m_is_success;
};

} // namespace lambda_runtime
} // namespace aws
