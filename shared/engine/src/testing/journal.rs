//! What all fakes share: the calls made, in order, and what is armed to happen at one of them.

use std::sync::{Arc, Mutex};

use enroller_core::error::AwsError;

use super::clock::FakeClock;
use crate::ports::{AwsResult, Clock};

/// One call: the action as IAM names it, and what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) about: String,
}

#[derive(Clone)]
enum Effect {
    Fail(&'static str),
    /// A service control policy denies the call.
    Deny,
    /// No answer ever: whoever waits with a deadline meets it.
    Hang,
    Takes(u64),
    /// Somebody else acts just before the call.
    Meanwhile(Arc<dyn Fn() + Send + Sync>),
}

struct Armed {
    operation: &'static str,
    /// Only calls about something that contains this.
    about: String,
    times: usize,
    effect: Effect,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    armed: Vec<Armed>,
    slow: std::collections::BTreeSet<&'static str>,
}

pub(crate) struct Journal {
    clock: Arc<FakeClock>,
    state: Mutex<State>,
}

impl Journal {
    pub(crate) fn new(clock: Arc<FakeClock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Makes a call: writes it down, then lets happen what is armed.
    pub(crate) async fn call(&self, operation: &'static str, about: impl ToString) -> AwsResult<()> {
        let about = about.to_string();
        let yields;
        let due = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(Call { operation, about: about.clone() });
            yields = state.slow.contains(operation);
            let fits = |it: &Armed| it.operation == operation && it.times > 0 && about.contains(&it.about);
            state.armed.iter_mut().find(|it| fits(it)).map(|armed| {
                armed.times -= 1;
                armed.effect.clone()
            })
        };
        if yields {
            // Lets others begin in the meantime, as a network would.
            let mut begun = false;
            std::future::poll_fn(|context| match std::mem::replace(&mut begun, true) {
                true => std::task::Poll::Ready(()),
                false => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
            })
            .await;
        }
        match due {
            Some(Effect::Fail(code)) => return Err(failure(operation, &about, code)),
            Some(Effect::Deny) => {
                let message = "You are not authorized to do this, with an explicit deny in a service control policy";
                return Err(AwsError::answered(operation, "UnauthorizedOperation", message));
            }
            Some(Effect::Hang) => std::future::pending().await,
            Some(Effect::Takes(ms)) => self.clock.advance(ms),
            Some(Effect::Meanwhile(act)) => act(),
            None => {}
        }
        Ok(())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn arm(&self, operation: &'static str, about: impl ToString, times: usize, effect: Effect) {
        let armed = Armed { operation, about: about.to_string(), times, effect };
        self.state.lock().unwrap().armed.push(armed);
    }

    /// The next so many calls fail with this code.
    pub(crate) fn fail(&self, operation: &'static str, times: usize, code: &'static str) {
        self.arm(operation, "", times, Effect::Fail(code));
    }

    /// The next so many calls about this fail with this code.
    pub(crate) fn fail_at(&self, operation: &'static str, about: impl ToString, times: usize, code: &'static str) {
        self.arm(operation, about, times, Effect::Fail(code));
    }

    /// The next so many calls are denied by a service control policy.
    pub(crate) fn deny(&self, operation: &'static str, times: usize) {
        self.arm(operation, "", times, Effect::Deny);
    }

    /// Calls of this action are answered only after others have begun theirs.
    pub(crate) fn slow(&self, operation: &'static str) {
        self.state.lock().unwrap().slow.insert(operation);
    }

    /// The next call gets no answer.
    pub(crate) fn hang(&self, operation: &'static str) {
        self.arm(operation, "", 1, Effect::Hang);
    }

    /// The next so many calls about this get no answer.
    pub(crate) fn hang_at(&self, operation: &'static str, about: impl ToString, times: usize) {
        self.arm(operation, about, times, Effect::Hang);
    }

    /// Each of the next calls takes so many milliseconds.
    pub(crate) fn takes(&self, operation: &'static str, times: usize, ms: u64) {
        self.arm(operation, "", times, Effect::Takes(ms));
    }

    /// Somebody else acts just before the next call.
    pub(crate) fn meanwhile(&self, operation: &'static str, act: impl Fn() + Send + Sync + 'static) {
        self.arm(operation, "", 1, Effect::Meanwhile(Arc::new(act)));
    }

    /// Forgets the calls so far.
    pub(crate) fn clear(&self) {
        self.state.lock().unwrap().calls.clear();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// What the calls of one action were about.
    pub(crate) fn about(&self, operation: &str) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.operation == operation).map(|call| call.about).collect()
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        self.about(operation).len()
    }

    /// The actions that change something, in order.
    pub(crate) fn changes(&self) -> Vec<&'static str> {
        let reads = ["Describe", "List", "Get", "Assume"];
        let reads = |operation: &str| reads.iter().any(|it| operation.split(':').nth(1).unwrap().starts_with(it));
        self.calls().iter().map(|call| call.operation).filter(|operation| !reads(operation)).collect()
    }
}

/// An error that names the account and Region, if the call was about them.
fn failure(operation: &'static str, about: &str, code: &str) -> AwsError {
    let mut error = AwsError::answered(operation, code, "as armed");
    error.account = about.split_whitespace().find_map(|word| word.parse().ok());
    error.region = about.split_whitespace().find_map(|word| word.parse().ok());
    error
}
