//! Trouble beyond one broken call: every error that AWS's models name, outages that last, and two faults in one run.

use std::hash::{DefaultHasher, Hash, Hasher};

use enroller_sim::{ApiError, errors_of};

use super::{Baseline, Fault, Outcome, SWEEP_FAILED, Scenario, Trouble, is_meant, place, run};

/// Of so many refusals, one is played. `ENROLLER_SHARE=1` plays all of them.
const SHARE: u64 = 8;

/// Pairs of faults for each scenario.
const PAIRS: usize = 24;

/// Outages of five minutes. After that the messages that came back finish the work.
const OUTAGES: &[&str] = &[
    "outage=service=ec2|logs,region=eu-west-1,answer=503,seconds=300",
    "outage=service=ec2|logs,region=eu-west-1,answer=silence,seconds=300",
    "outage=service=ec2|logs,region=us-east-1,answer=503,seconds=300",
    "outage=service=ec2|logs,region=us-east-1,answer=silence,seconds=300",
    "outage=service=sqs,answer=503,seconds=300",
    "outage=service=sqs,answer=silence,seconds=300",
    "outage=service=organizations,answer=503,seconds=300",
    "outage=service=organizations,answer=silence,seconds=300",
    "outage=service=organizations,answer=429,seconds=300",
    "outage=service=sts,answer=503,seconds=300",
    "outage=service=sts,answer=broken,seconds=300",
    "sts-off=region=eu-west-1,seconds=300",
];

/// A sweep that falls into an outage of these services is lost: Lambda tries an invocation three times within three
/// minutes, and nothing is on a queue yet. The next sweep does its work.
const LOSE_A_SWEEP: &[&str] = &["service=sqs", "service=organizations"];

/// A departure whose grants cannot be written for minutes is left to the sweep: its message comes back three times within
/// 70 seconds, because joins wait behind it. The account keeps a grant that is of no use to others until then.
const KEEPS_A_GRANT: &str = "account leaves";

/// What only a sweep heals: operations (`*` for all), codes, a part of the message, and why nothing else does.
const HEALED_BY_SWEEP: &[(&str, &[&str], &str, &str)] = &[
    (
        "*",
        &[
            "InvalidParameterException",
            "InvalidParameter",
            "InvalidParameterValue",
            "InvalidParameterCombination",
            "InvalidInputException",
            "InvalidInput",
            "InvalidArnException",
            "ValidationException",
            "ValidationError",
            "MalformedPolicyDocument",
            "MalformedPolicyDocumentException",
            "PackedPolicyTooLarge",
            "IdempotentParameterMismatch",
            "ConstraintViolationException",
            "UnsupportedAPIEndpointException",
            "UnmodifiableEntity",
        ],
        "",
        "AWS calls the request itself wrong, and the same request again would be as wrong: a person is told, and the \
         sweep shows whether it helped",
    ),
    (
        "*",
        &[
            "LimitExceeded",
            "LimitExceededException",
            "FlowLogsLimitExceeded",
            "TagLimitExceeded",
            "TooManyTagsException",
            "OverLimit",
        ],
        "",
        "a quota is used up until a person raises it or deletes something, which no event reports",
    ),
    (
        "*",
        &["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation"],
        "service control policy",
        "the organization denies a look on purpose, and no event reports that it no longer does",
    ),
];

/// The reason for which a refusal may wait for the sweep.
fn reason_to_wait(operation: &str, error: &ApiError) -> Option<&'static str> {
    let found = HEALED_BY_SWEEP.iter().find(|(of, codes, message, _)| {
        (*of == "*" || *of == operation) && codes.contains(&error.code.as_str()) && error.message.contains(message)
    });
    found.map(|(.., reason)| *reason)
}

/// Every error that the operation of a call can answer, at every call, once. No sweep follows, unless the error is one
/// of those that only a sweep heals.
pub(super) async fn refusals(scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome::default();
    let baseline = match Baseline::of(scenario, 1).await {
        Ok(baseline) => baseline,
        Err(wrong) => return Outcome { failures: vec![wrong], ..outcome },
    };
    outcome.calls = baseline.run.calls.len();
    for (index, call) in baseline.run.calls.iter().enumerate() {
        for (number, error) in errors_of(call.service, &call.operation).iter().enumerate() {
            let case = format!("{}/{}/{}-{number}", scenario.name, index + 1, error.code);
            if !is_meant(&case) || !is_drawn(&case) {
                continue;
            }
            let trouble = Trouble::Answer(index as u64 + 1, error);
            let mut found = run(scenario, 1, trouble, false).await;
            let mut wrong = baseline.judge(&mut found);
            if error.code.contains("NotFound") || error.code.contains("NoSuch") {
                // What is said to be missing is put again, as it was. The end state must be the same.
                wrong.retain(|line| !line.starts_with("a change that the run without a fault"));
            }
            if !wrong.is_empty() {
                let mut swept = run(scenario, 1, trouble, true).await;
                let mut still = baseline.judge(&mut swept);
                // A sweep looks everywhere.
                still.retain(|line| !line.starts_with("a call in another account or Region"));
                let may_wait = reason_to_wait(&call.operation, error).is_some();
                match (still.is_empty(), may_wait) {
                    (true, true) => wrong.clear(),
                    (true, false) => wrong.insert(0, "ONLY THE SWEEP HEALS:".to_owned()),
                    (false, _) => wrong = still,
                }
            }
            baseline.check_hit(index, &found, &mut wrong);
            outcome.case(&case, &place(call), &wrong);
        }
    }
    outcome
}

/// Whether the seed draws this case.
fn is_drawn(case: &str) -> bool {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut hasher = DefaultHasher::new();
    (case, number("ENROLLER_SEED").unwrap_or(1)).hash(&mut hasher);
    std::env::var_os(super::CASE).is_some() || hasher.finish().is_multiple_of(number("ENROLLER_SHARE").unwrap_or(SHARE))
}

/// Each outage, from the beginning of the work on.
pub(super) async fn outages(scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome::default();
    // As in the functions: an outage meets the SDK's own attempts, too.
    let baseline = match Baseline::of(scenario, 4).await {
        Ok(baseline) => baseline,
        Err(wrong) => return Outcome { failures: vec![wrong], ..outcome },
    };
    outcome.calls = baseline.run.calls.len();
    for rule in OUTAGES {
        let case = format!("{}/{rule}", scenario.name);
        if is_meant(&case) {
            // The sweep of a case would fall into the outage, too.
            if scenario.name == KEEPS_A_GRANT && rule.contains("logs,region=") {
                continue;
            }
            let loses_sweep = scenario.sweep && LOSE_A_SWEEP.iter().any(|service| rule.contains(service));
            let mut found = run(scenario, 4, Trouble::Rule(rule), loses_sweep).await;
            let mut wrong = baseline.judge(&mut found);
            if loses_sweep {
                wrong.retain(|line| line != SWEEP_FAILED && !line.starts_with("a call in another account or Region"));
            }
            outcome.case(&case, "from the beginning", &wrong);
        }
    }
    outcome
}

/// Two faults in one run, drawn from the seed.
pub(super) async fn pairs(scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome::default();
    let baseline = match Baseline::of(scenario, 1).await {
        Ok(baseline) => baseline,
        Err(wrong) => return Outcome { failures: vec![wrong], ..outcome },
    };
    let calls = baseline.run.calls.len() as u64;
    outcome.calls = baseline.run.calls.len();
    let mut dice = fastrand::Rng::with_seed(calls);
    for _ in 0..PAIRS {
        // The second fault may hit a call of the recovery from the first.
        let position = dice.u64(1..=calls);
        let distance = dice.u64(1..=8);
        let mut fault = |position| (position, Fault::ALL[dice.usize(0..Fault::ALL.len())]);
        let (first, second) = (fault(position), fault(position + distance));
        let case = format!("{}/{first:?} and {second:?}", scenario.name);
        if is_meant(&case) {
            let mut found = run(scenario, 1, Trouble::At(&[first, second]), false).await;
            outcome.case(&case, "two calls", &baseline.judge(&mut found));
        }
    }
    outcome
}
