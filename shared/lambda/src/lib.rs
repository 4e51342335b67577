//! What the three functions share: reading invocations, keeping to the deadline, starting and ending.

mod invocation;
mod start;

pub use invocation::{Invocation, InvocationError};
pub use start::run;

use lambda_runtime::Context;

/// Deadlines below this, in milliseconds, are not relative to 1970: some local runtimes report a duration instead.
const EARLIEST_DEADLINE_MS: u64 = 1_000_000_000_000;

/// How long an invocation without a usable deadline may take, in milliseconds: Lambda's maximum timeout.
const LONGEST_RUN_MS: u64 = 900_000;

/// The time reserved before the deadline for returning unfinished messages to the queue, in milliseconds.
const MARGIN_MS: u64 = 10_000;

/// When to stop working, in milliseconds since 1970-01-01 UTC: ten seconds before the deadline, or half of the
/// time left if that is less.
pub fn stop_at_ms(context: &Context, now_ms: u64) -> u64 {
    let deadline = match context.deadline {
        deadline if deadline > EARLIEST_DEADLINE_MS => deadline,
        _ => now_ms + LONGEST_RUN_MS,
    };
    let left = deadline.saturating_sub(now_ms);
    deadline - MARGIN_MS.min(left / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(deadline: u64, now: u64) -> u64 {
        let mut context = Context::default();
        context.deadline = deadline;
        stop_at_ms(&context, now)
    }

    #[test]
    fn work_stops_in_time_to_return_the_rest_to_the_queue() {
        let now = 1_800_000_000_000;
        assert_eq!(stop(now + 900_000, now), now + 890_000);
        assert_eq!(stop(now + 4_000, now), now + 2_000);
        assert_eq!(stop(now - 5, now), now - 5);
    }

    #[test]
    fn a_deadline_that_is_a_duration_is_ignored() {
        let now = 1_800_000_000_000;
        assert_eq!(stop(600_000, now), now + 890_000);
    }
}
