//! What to do about a failure: [`Disposition`], with why it is worth waiting, how often, and the next step.

/// Why a later try is likely to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// The member role is missing or does not trust the enroller yet: the member stack usually arrives after the
    /// account.
    MemberRole,
    /// AWS is still setting the account up, or has blocked it.
    Account,
    /// AWS rejects the account's credentials: the Region is disabled or the account is not ready.
    Credentials,
    /// AWS rejects the request's signature, usually because the calling machine's clock is wrong. Another machine, or
    /// the same one later, may have the right time.
    Clock,
    /// The account's grant has not taken effect on its destination yet.
    Grant,
    /// A new IAM role has not propagated everywhere yet.
    RolePropagation,
    /// The VPC is gone or not visible yet; the next observation shows which.
    Vpc,
    /// IAM denies the call. Policies take effect with a delay, and the stack that makes the role may be updated a moment
    /// later than the one that relies on it.
    Permission,
    /// An explicit deny of the account: of an identity policy, a permissions boundary, a session policy or a resource.
    ExplicitDeny,
    /// A service control policy or a resource control policy denies a change.
    OrganizationPolicy,
    /// Organizations denies the central account a call, so its delegation is missing or was changed.
    Delegation,
    /// STS is switched off for a Region in the account.
    SessionRegion,
    /// AWS rejects the central account's credentials in one Region, which it has probably not enabled.
    CentralRegion,
    /// The Region has failed to answer for several accounts, and is not asked for a while.
    Region,
    /// A code or an answer that this version does not know.
    Unknown,
    /// AWS says that a flow log exists, but does not list it.
    FlowLog,
    /// A flow log that was just created has not delivered yet, so the one it replaces is kept.
    Successor,
}

/// How often a message comes back for an error that time seldom cures, before it is left to a person and to the next
/// sweep. With the growing delays between the tries, that is a quarter of an hour.
const TRIES_BEFORE_A_PERSON: u32 = 5;

impl Wait {
    /// A short, stable name for messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MemberRole => "member-role",
            Self::Account => "account",
            Self::Credentials => "credentials",
            Self::Clock => "clock",
            Self::Grant => "grant",
            Self::RolePropagation => "role-propagation",
            Self::Vpc => "vpc",
            Self::Permission => "permission",
            Self::ExplicitDeny => "explicit-deny",
            Self::OrganizationPolicy => "organization-policy",
            Self::Delegation => "delegation",
            Self::SessionRegion => "session-region",
            Self::CentralRegion => "central-region",
            Self::Region => "region",
            Self::Unknown => "unknown",
            Self::FlowLog => "flow-log",
            Self::Successor => "successor",
        }
    }

    /// How often a message is received for this reason before a person has to act. `None` if the queue alone decides,
    /// which moves a message to the dead-letter queue after its last receive.
    pub const fn tries(self) -> Option<u32> {
        match self {
            Self::Permission
            | Self::ExplicitDeny
            | Self::OrganizationPolicy
            | Self::Delegation
            | Self::SessionRegion
            | Self::CentralRegion
            | Self::FlowLog
            | Self::Unknown => Some(TRIES_BEFORE_A_PERSON),
            Self::MemberRole
            | Self::Account
            | Self::Credentials
            | Self::Clock
            | Self::Grant
            | Self::RolePropagation
            | Self::Vpc
            | Self::Successor
            | Self::Region => None,
        }
    }
}

/// Why the enroller deliberately does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// The account has not enabled the Region.
    RegionDisabled,
    /// A policy of the organization denies the call that looks, which may be the organization's decision. A denied
    /// change is [`Wait::OrganizationPolicy`].
    OrganizationPolicy,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The resource to be created exists already: success.
    AlreadyThere,
    /// The resource to be read or removed does not exist.
    Absent,
    /// Throttled, transient or aborted: the same call may succeed within seconds.
    RetrySoon,
    /// Something else has to happen first, which takes minutes.
    RetryLater(Wait),
    /// There is nothing to do, and this is not a failure.
    Skip(Skip),
    /// A person has to act; the text is the next step.
    Terminal(&'static str),
}

impl Disposition {
    /// A short, stable name for logs and metric dimensions.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AlreadyThere => "already-there",
            Self::Absent => "absent",
            Self::RetrySoon => "retry-soon",
            Self::RetryLater(_) => "retry-later",
            Self::Skip(_) => "skipped",
            Self::Terminal(_) => "terminal",
        }
    }

    /// What to do if the call was needed: the same, except that a resource which is unexpectedly absent, or already
    /// there, is looked at again. AWS's reads lag behind its writes.
    #[must_use]
    pub const fn of_failure(self) -> Self {
        match self {
            Self::AlreadyThere | Self::Absent => Self::RetrySoon,
            Self::RetrySoon | Self::RetryLater(_) | Self::Skip(_) | Self::Terminal(_) => self,
        }
    }

    /// Whether a message that was received `receive_count` times should return to the queue once more.
    pub const fn returns_after(self, receive_count: u32) -> bool {
        match self {
            Self::RetryLater(wait) => match wait.tries() {
                Some(tries) => receive_count < tries,
                None => true,
            },
            Self::RetrySoon | Self::AlreadyThere | Self::Absent | Self::Skip(_) | Self::Terminal(_) => {
                self.is_retryable()
            }
        }
    }

    /// Whether the message should return to the queue, because the same request may succeed later.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::RetrySoon | Self::RetryLater(_) => true,
            Self::AlreadyThere | Self::Absent | Self::Skip(_) | Self::Terminal(_) => false,
        }
    }

    /// What an operator should know or do, as shown with the error.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::AlreadyThere | Self::Absent => "no action needed",
            Self::RetrySoon => "no action needed: retried within seconds",
            Self::RetryLater(Wait::MemberRole) => {
                "deploy the member stack to this account (StackSet), or update it if its organization or external id is another one; retried automatically"
            }
            Self::RetryLater(Wait::Account) => {
                "wait until AWS has activated the account. If this persists, look at its state in AWS Organizations, and exclude it if it stays like that; retried automatically"
            }
            Self::RetryLater(Wait::Credentials) => {
                "enable the Region in the account, or remove it from the setting `regions`"
            }
            Self::RetryLater(Wait::Clock) => {
                "check the clock and the access keys of the machine that made the call; retried automatically"
            }
            Self::RetryLater(Wait::Grant) => {
                "no action yet: the account's grant is pending. If this persists, enroller grants shows what keeps it. Where it is there, update the member stack, whose role has to allow logs:PutSubscriptionFilter on the destination"
            }
            Self::RetryLater(Wait::RolePropagation) => {
                "check that the role exists and trusts the service named in the message, and update the stack that makes it; retried automatically"
            }
            Self::RetryLater(Wait::Vpc) => "no action needed: the VPC is checked again",
            Self::RetryLater(Wait::Permission) => {
                "allow this action in the role that made the call: in a member account, update the member stack; in the central account, the central stack"
            }
            Self::RetryLater(Wait::ExplicitDeny) => {
                "remove the explicit deny from the policy that the message names, or exempt the role there: it overrides what the stacks allow"
            }
            Self::RetryLater(Wait::OrganizationPolicy) => {
                "have the organization's administrators exempt the role that made the call in the service control or resource control policy that denies this change"
            }
            Self::RetryLater(Wait::Delegation) => {
                "make the central account a delegated administrator (docs/deploy.md, \"Trusted access and delegated administration\"), or check its delegation policy"
            }
            Self::RetryLater(Wait::SessionRegion) => {
                "activate STS in the Region that the message names, in the account's IAM settings"
            }
            Self::RetryLater(Wait::CentralRegion) => {
                "enable the Region in the central account, or remove it from the setting `regions`"
            }
            Self::RetryLater(Wait::Region) => "no action needed: the Region is asked again in a minute",
            Self::RetryLater(Wait::Unknown) => {
                "look the code up in AWS's documentation of the call, and report it as unknown to the enroller"
            }
            Self::RetryLater(Wait::FlowLog) => {
                "look for the VPC's flow log in the account itself (aws ec2 describe-flow-logs), and delete it if nobody needs it"
            }
            Self::RetryLater(Wait::Successor) => {
                "no action needed where the functions are deployed: the old flow log is deleted when the new one delivers. Elsewhere, run enroller backfill again after 15 minutes"
            }
            Self::Skip(Skip::RegionDisabled) => {
                "no action needed; to stop checking the Region, remove it from the setting `regions`"
            }
            Self::Skip(Skip::OrganizationPolicy) => {
                "no action needed if intended; otherwise exempt the member role in the service control policy"
            }
            Self::Terminal(step) => step,
        }
    }
}
