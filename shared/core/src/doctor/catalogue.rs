//! The catalogue of all checks.

/// A group of checks in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The caller and its organization.
    Organization,
    /// The central account's destinations and their grants.
    Destinations,
    /// Buses and rules of the central account and the management account.
    Events,
    /// The central account's queues.
    Queues,
    /// The accounts that were checked.
    Accounts,
    /// AWS quotas that an account approaches.
    Quotas,
}

impl Group {
    /// The heading, also the `group` in JSON.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Organization => "Caller and organization",
            Self::Destinations => "Destinations and grants",
            Self::Events => "Event buses and rules",
            Self::Queues => "Queues",
            Self::Accounts => "Accounts",
            Self::Quotas => "Quotas",
        }
    }
}

/// Declares the checks, in the order they are shown in.
macro_rules! checks {
    ($($name:ident = $id:literal, $group:ident, $meaning:literal;)*) => {
        /// One kind of check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each check is described by its meaning, where users read it")]
        pub enum CheckId {
            $($name,)*
        }

        impl CheckId {
            /// All kinds, in the order they are shown in.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable id, for scripts.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// The group it is shown in.
            pub const fn group(self) -> Group {
                match self { $(Self::$name => Group::$group,)* }
            }

            /// What is checked, and what depends on it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

checks! {
    Caller = "caller", Organization,
        "The installation is checked from its central account; another account has other destinations, buses and queues.";
    Organization = "organization", Organization,
        "Grants, bus policies and role trusts authorize the organization of the settings and no other.";
    AccountListing = "account-listing", Organization,
        "Without the list of accounts no account is granted and no sweep runs.";
    Destination = "destination", Destinations,
        "Subscription filters point at the destination, which delivers the records to its target with its role.";
    DestinationPolicy = "destination-policy", Destinations,
        "The access policy authorizes accounts to subscribe. One that cannot be parsed is never replaced, so no new account is added.";
    DestinationRoom = "destination-room", Destinations,
        "A policy has at most 5,120 bytes. When all policies of a Region are full, account-onboarder creates another destination.";
    Grants = "grants", Destinations,
        "An account that is not granted cannot subscribe, so its records do not arrive.";
    Bus = "event-bus", Events,
        "Events of all accounts arrive on this bus, which must accept them from the whole organization.";
    BusRules = "event-bus-rules", Events,
        "These rules forward events to the home Region and to the queues; without them only the sweep finds new VPCs and accounts.";
    ManagementRules = "management-rules", Events,
        "Events about accounts that join, move or leave appear in the management account only; without its rule only the sweep finds them.";
    ManagementTrail = "management-trail", Events,
        "Events about accounts are sent only while a trail is logging in the management account.";
    Queue = "queue", Queues,
        "A function receives its messages from this queue, and those it cannot process must go to a dead-letter queue.";
    DeadLetters = "dead-letters", Queues,
        "A function failed to process these messages until their last receive; the accounts in them wait for the sweep.";
    MemberRole = "member-role", Accounts,
        "The enroller makes all its calls in an account with this role; without it the account is not enrolled.";
    EnabledRegions = "enabled-regions", Accounts,
        "A Region that an account has not enabled is skipped until it is.";
    MemberRules = "member-rules", Accounts,
        "These rules forward an account's events; without them only the sweep finds new VPCs and deleted filters.";
    Trail = "trail", Accounts,
        "Events of API calls are sent only while a trail is logging in the account and Region; without one only the sweep works.";
    DeliveryRole = "delivery-role", Accounts,
        "Flow logs are delivered to the log group with this role; without it they are ACTIVE and deliver nothing.";
    FilterRole = "filter-role", Accounts,
        "Where the organization is granted, AWS requires a role for every subscription filter.";
    FilterSlots = "filter-slots", Quotas,
        "A log group has at most five subscription filters, a quota that AWS does not raise; the managed filter is one of them.";
    FlowLogSlots = "flow-log-slots", Quotas,
        "A VPC has at most 250 flow logs, and a replacement needs room while the old flow log still exists.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_kebab_case_and_unique_and_groups_stay_together() {
        let ids: BTreeSet<_> = CheckId::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(ids.len(), CheckId::ALL.len());
        assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        assert!(CheckId::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].group() <= pair[1].group()));
        assert!(CheckId::ALL.iter().all(|id| id.meaning().ends_with('.')));
        let groups: BTreeSet<_> = CheckId::ALL.iter().map(|id| id.group()).collect();
        let titles: BTreeSet<_> = groups.iter().map(|group| group.title()).collect();
        assert_eq!(titles.len(), groups.len());
        assert!(titles.iter().all(|title| title.starts_with(char::is_uppercase)), "{titles:?}");
    }
}
