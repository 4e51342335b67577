//! Faults that a test arms: which call they hit, and how the call fails.

use std::fmt;
use std::sync::Arc;

use crate::call::{ApiError, Call, Service};
use crate::limits::throttle;
use crate::world::World;

/// Code of a test that runs inside a call, such as a change by another principal at the worst moment.
pub type Hook = Arc<dyn Fn(&mut World, &Call) + Send + Sync>;

/// What a fault does to the call that it hits.
#[derive(Clone)]
pub enum FaultKind {
    /// Nothing is changed, and this refusal is the answer.
    ErrorBefore(ApiError),
    /// The call is done, and this refusal is the answer.
    ErrorAfter(ApiError),
    /// Nothing is changed, and the connection breaks.
    LostBefore,
    /// The call is done, and the connection breaks before the answer.
    LostAfter,
    /// Nothing is changed, and the answer is the service's throttling code.
    Throttle,
    /// Nothing is changed, and the connector times out. Over HTTP the answer never comes.
    TimeoutBefore,
    /// The call is done, and the connector times out. Over HTTP the answer never comes.
    TimeoutAfter,
    /// Nothing is changed, and the answer never comes. The test drops the caller, as in a crash.
    HangBefore,
    /// The call is done, and the answer never comes.
    HangAfter,
    /// Runs before the call, which then goes on.
    HookBefore(Hook),
    /// Runs after the call, whose answer then goes out.
    HookAfter(Hook),
}

impl FaultKind {
    /// A 500 with the service's usual code, before any effect.
    pub fn internal_error() -> Self {
        Self::ErrorBefore(ApiError::new(500, "InternalFailure", "An internal error has occurred"))
    }
}

impl fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ErrorBefore(_) => "ErrorBefore",
            Self::ErrorAfter(_) => "ErrorAfter",
            Self::LostBefore => "LostBefore",
            Self::LostAfter => "LostAfter",
            Self::Throttle => "Throttle",
            Self::TimeoutBefore => "TimeoutBefore",
            Self::TimeoutAfter => "TimeoutAfter",
            Self::HangBefore => "HangBefore",
            Self::HangAfter => "HangAfter",
            Self::HookBefore(_) => "HookBefore",
            Self::HookAfter(_) => "HookAfter",
        })
    }
}

/// Which of the calls that match a rule it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every matching call, until the rules are cleared.
    Always,
    /// The first matching calls, this many.
    First(u64),
    /// The matching call with this number, from 1.
    Nth(u64),
    /// The call with this sequence number among all calls to the simulated AWS, from 1.
    Sequence(u64),
    /// Every call with a greater sequence number. With `HangBefore`, the process that made the call is dead.
    After(u64),
}

/// Which calls a fault hits. A part that is `None` matches every call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`service` and `kind` are described by their types")]
pub struct FaultRule {
    pub service: Option<Service>,
    /// Operation, such as `CreateFlowLogs`.
    pub operation: Option<String>,
    /// Account of the caller.
    pub account: Option<String>,
    /// Region that the call is signed for.
    pub region: Option<String>,
    /// Which of the matching calls.
    pub when: When,
    pub kind: FaultKind,
}

impl FaultRule {
    /// A fault at every call.
    pub fn new(kind: FaultKind) -> Self {
        Self { service: None, operation: None, account: None, region: None, when: When::Always, kind }
    }

    /// Only calls of this operation.
    #[must_use]
    pub fn on(mut self, service: Service, operation: &str) -> Self {
        self.service = Some(service);
        self.operation = Some(operation.to_owned());
        self
    }

    /// Only calls by principals of this account.
    #[must_use]
    pub fn by(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Only calls in this Region.
    #[must_use]
    pub fn within(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Only these of the matching calls.
    #[must_use]
    pub fn at(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        self.service.is_none_or(|service| service == call.service)
            && is(&self.operation, &call.operation)
            && is(&self.account, &call.caller.account)
            && is(&self.region, &call.region)
    }
}

/// The rules that are armed.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<(FaultRule, u64)>,
    hits: u64,
    hanging: bool,
}

impl Faults {
    /// Arms a rule. Where several match the same call, the one armed first applies.
    pub fn arm(&mut self, rule: FaultRule) {
        self.rules.push((rule, 0));
    }

    /// Disarms all rules, and forgets that a call hung.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.hanging = false;
    }

    /// Whether an armed rule has made a call hang, so that its caller never gets an answer.
    pub fn hanging(&self) -> bool {
        self.hanging
    }

    /// The number of calls that were hit so far.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// The fault that hits the call, if any. Every rule counts the calls that match it.
    pub(crate) fn on_call(&mut self, call: &Call) -> Option<FaultKind> {
        let mut hit = None;
        for (rule, seen) in self.rules.iter_mut().filter(|(rule, _)| rule.matches(call)) {
            *seen += 1;
            let applies = match rule.when {
                When::Always => true,
                When::First(count) => *seen <= count,
                When::Nth(number) => *seen == number,
                When::Sequence(number) => call.sequence == number,
                When::After(number) => call.sequence > number,
            };
            if applies && hit.is_none() {
                hit = Some(rule.kind.clone());
            }
        }
        self.hits += u64::from(hit.is_some());
        self.hanging |= matches!(hit, Some(FaultKind::HangBefore | FaultKind::HangAfter));
        hit
    }
}

/// What a fault does to a call, before or after the call takes effect.
#[derive(Debug)]
pub(crate) enum FaultEffect {
    Continue,
    Respond(ApiError),
    Fail(Failure),
}

/// How an answer fails to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Lost,
    TimedOut,
    Hangs,
}

/// The effect of a fault before the call is served.
pub(crate) fn before(fault: Option<&FaultKind>, world: &mut World, call: &Call) -> FaultEffect {
    match fault {
        Some(FaultKind::ErrorBefore(refusal)) => FaultEffect::Respond(refusal.clone()),
        Some(FaultKind::LostBefore) => FaultEffect::Fail(Failure::Lost),
        Some(FaultKind::TimeoutBefore) => FaultEffect::Fail(Failure::TimedOut),
        Some(FaultKind::HangBefore) => FaultEffect::Fail(Failure::Hangs),
        Some(FaultKind::Throttle) => FaultEffect::Respond(throttle(call.service)),
        Some(FaultKind::HookBefore(hook)) => {
            hook(world, call);
            FaultEffect::Continue
        }
        Some(
            FaultKind::ErrorAfter(_)
            | FaultKind::LostAfter
            | FaultKind::TimeoutAfter
            | FaultKind::HangAfter
            | FaultKind::HookAfter(_),
        )
        | None => FaultEffect::Continue,
    }
}

/// The effect of a fault after the call was served: an error or a failure replaces the answer.
pub(crate) fn after(fault: Option<&FaultKind>, world: &mut World, call: &Call) -> FaultEffect {
    match fault {
        Some(FaultKind::ErrorAfter(refusal)) => FaultEffect::Respond(refusal.clone()),
        Some(FaultKind::LostAfter) => FaultEffect::Fail(Failure::Lost),
        Some(FaultKind::TimeoutAfter) => FaultEffect::Fail(Failure::TimedOut),
        Some(FaultKind::HangAfter) => FaultEffect::Fail(Failure::Hangs),
        Some(FaultKind::HookAfter(hook)) => {
            hook(world, call);
            FaultEffect::Continue
        }
        Some(
            FaultKind::ErrorBefore(_)
            | FaultKind::LostBefore
            | FaultKind::Throttle
            | FaultKind::TimeoutBefore
            | FaultKind::HangBefore
            | FaultKind::HookBefore(_),
        )
        | None => FaultEffect::Continue,
    }
}
