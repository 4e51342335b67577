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
    /// consistent; how long they lag, and whether `DescribeAccount` does too, is UNVERIFIED: here it does not.
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
    /// VPCs that an account may have in a Region.
    pub vpcs_per_region: usize,
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
            // AWS's default quota is 5 per Region and adjustable (VPC user guide, quotas); organizations that need
            // this product have raised it.
            vpcs_per_region: 10_000,
        }
    }
}
