//! Switches for what AWS leaves undocumented, and delays that a test may want.

/// Which existing flow log makes a new one a twin that `CreateFlowLogs` refuses with `FlowLogAlreadyExists`.
///
/// The message says "with the same configuration and log destination"; which attributes count as configuration is
/// not documented (UNVERIFIED), so the enroller has to work with both interpretations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TwinRule {
    /// Same resource, destination, traffic type, interval, format and role.
    #[default]
    SameConfiguration,
    /// Same resource and destination, whatever the rest.
    SameDestination,
}

/// Switches and delays, which a test may change at any time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What counts as a twin of a flow log.
    pub twin_rule: TwinRule,
    /// Milliseconds of virtual time in which a new role exists but cannot be assumed.
    pub role_propagation_ms: u64,
    /// Whether `Account` in Organizations answers carries `Paths`; the field is newer than many callers.
    pub account_paths: bool,
    /// Whether `ListAccounts` puts an empty page with a token before every page, which AWS allows itself.
    pub empty_pages: bool,
    /// Milliseconds by which `ListAccounts` lags behind the organization. Reads of Organizations are eventually
    /// consistent; how long they lag is UNVERIFIED. `DescribeAccount` lags with `read_lag_ms`.
    pub listing_lag_ms: u64,
    /// Real milliseconds that every answer takes.
    pub latency_ms: u64,
    /// Whether IAM and Organizations accept signatures for any Region. AWS refuses them, but a client with a custom
    /// endpoint URL always signs for its own Region (endpoint rule sets of
    /// botocore and the SDKs).
    pub any_signing_region: bool,
    /// Whether permissions on log groups are asked for on the bare ARN, as the user guide has it since 2026, and not
    /// with `:log-stream:` behind it, as refusals of AWS show it. Which of both holds is UNVERIFIED.
    pub bare_log_group_arns: bool,
    /// Milliseconds from the creation of a flow log to its first record. AWS says "several minutes" (VPC user guide,
    /// "Create a flow log").
    pub recording_delay_ms: u64,
    /// Milliseconds that a deleted flow log goes on recording ("it can take several minutes to stop", same page).
    pub stopping_delay_ms: u64,
    /// Whether DescribeFlowLogs shows the result of deliveries without a tick of the data plane, as where there is
    /// always traffic. On real time nobody else makes traffic.
    pub constant_traffic: bool,
    /// Milliseconds by which reads lag behind writes: of flow logs, log groups, filters, destinations, roles, and
    /// DescribeAccount. None of these promises read-after-write; how long they lag is UNVERIFIED.
    pub read_lag_ms: u64,
    /// Whether each read draws its lag between none and `read_lag_ms` from the seed.
    pub read_lag_drawn: bool,
    /// Whether a write to a role or log group that is too new to be read is refused as if it were not there.
    pub writes_lag: bool,
    /// Milliseconds in which the policies of a role work as before their last change, although reads show the new ones
    /// (IAM user guide, "Changes that I make are not always immediately visible").
    pub policy_propagation_ms: u64,
    /// Of a hundred writes whose operation names `OperationAbortedException`, how many get it, drawn from the seed.
    pub aborted_percent: u64,
    /// Of a hundred receives of a message from a standard queue, how many leave it visible, so that it comes again.
    pub queue_repeat_percent: u64,
    /// Whether standard queues give their messages in an order drawn from the seed.
    pub queue_reorder: bool,
    /// Milliseconds that each page of `ListAccounts` takes: of virtual time, or of real time on real time.
    pub listing_page_ms: u64,
    /// Whether every answer is held to AWS's model of it; one outside it becomes an error of status 500. On in the tests
    /// of the simulation itself.
    pub check_answers: bool,
    /// Most times that a call lets others pass before it is served, drawn from the seed. On a runtime of one thread the
    /// calls of tasks that run at once then interleave in an order that the seed repeats.
    pub interleave: u64,
    /// VPCs that an account may have in a Region.
    pub vpcs_per_region: usize,
}

impl Settings {
    /// The same with the delays that AWS has, at the upper end of what its documentation and field reports say.
    #[must_use]
    pub fn with_delays_of_aws(self) -> Self {
        Self {
            role_propagation_ms: 10_000,
            policy_propagation_ms: 20_000,
            recording_delay_ms: 5 * 60 * 1_000,
            stopping_delay_ms: 5 * 60 * 1_000,
            ..self
        }
    }
}

impl Settings {
    /// The same with a consistency drawn from a seed: what lags, repeats, is aborted and interleaves, and how much. Each
    /// part is off for some seeds.
    #[must_use]
    pub fn with_drawn_consistency(self, seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut one_of = |choices: &[u64]| dice.choice(choices).copied().unwrap_or_default();
        Self {
            read_lag_ms: one_of(&[0, 1_000, 5_000, 30_000]),
            role_propagation_ms: one_of(&[0, 5_000, 20_000]),
            policy_propagation_ms: one_of(&[0, 5_000, 20_000]),
            listing_lag_ms: one_of(&[0, 10_000, 60_000]),
            listing_page_ms: one_of(&[0, 200, 700]),
            aborted_percent: one_of(&[0, 2, 10]),
            queue_repeat_percent: one_of(&[0, 2, 10]),
            interleave: one_of(&[0, 3, 9]),
            read_lag_drawn: one_of(&[0, 1]) == 1,
            writes_lag: one_of(&[0, 1]) == 1,
            queue_reorder: one_of(&[0, 1]) == 1,
            ..self
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            twin_rule: TwinRule::default(),
            role_propagation_ms: 0,
            account_paths: true,
            empty_pages: false,
            listing_lag_ms: 0,
            latency_ms: 0,
            any_signing_region: false,
            bare_log_group_arns: false,
            recording_delay_ms: 0,
            stopping_delay_ms: 0,
            constant_traffic: false,
            read_lag_ms: 0,
            read_lag_drawn: false,
            writes_lag: false,
            policy_propagation_ms: 0,
            aborted_percent: 0,
            queue_repeat_percent: 0,
            queue_reorder: false,
            listing_page_ms: 0,
            interleave: 0,
            check_answers: cfg!(test),
            // AWS's default quota is 5 per Region and adjustable (VPC user guide, quotas); organizations that need
            // this product have raised it.
            vpcs_per_region: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_consistency_again_and_every_part_is_off_for_some_seeds() {
        let drawn = |seed| format!("{:?}", Settings::default().with_drawn_consistency(seed));
        assert_eq!(drawn(7), drawn(7));
        for part in
            ["read_lag_ms: 0,", "aborted_percent: 0,", "queue_reorder: false", "interleave: 0,", "writes_lag: false"]
        {
            let off = (0..50).filter(|seed| drawn(*seed).contains(part)).count();
            assert!((1..50).contains(&off), "{part} {off}");
        }
    }
}
