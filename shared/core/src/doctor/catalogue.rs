//! All checks there are.

/// What belongs together in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Who asks, and which organization it is about.
    Organization,
    /// Destinations and grants of the central account.
    Destinations,
    /// Buses and rules of the central and the management account.
    Events,
    /// Queues of the central account.
    Queues,
    /// The accounts that were looked at.
    Accounts,
    /// Limits of AWS that an account comes near to.
    Quotas,
}

impl Group {
    /// The heading.
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

/// Declares the checks in the order they are shown in.
macro_rules! checks {
    ($($name:ident = $id:literal, $group:ident, $meaning:literal;)*) => {
        /// One kind of check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the meaning says it, where users read it")]
        pub enum CheckId {
            $($name,)*
        }

        impl CheckId {
            /// All of them, in the order they are shown in.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its stable id, for scripts.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What it belongs to.
            pub const fn group(self) -> Group {
                match self { $(Self::$name => Group::$group,)* }
            }

            /// What is looked at, and what depends on it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

checks! {
    Caller = "caller", Organization,
        "The installation is looked at from its central account; another one has other destinations, buses and queues.";
    Organization = "organization", Organization,
        "Grants, bus policies and role trusts name the organization of the settings and let nobody else in.";
    AccountListing = "account-listing", Organization,
        "Without the list of accounts nobody is granted and no sweep runs.";
    Destination = "destination", Destinations,
        "Subscription filters point at the destination; records go where it points, with the role it names.";
    DestinationPolicy = "destination-policy", Destinations,
        "The access policy lets accounts subscribe. One that cannot be understood is never replaced, so nobody new is let in.";
    DestinationRoom = "destination-room", Destinations,
        "A policy holds 5,120 bytes. When all policies of a Region are full, the onboarder makes one more destination.";
    Grants = "grants", Destinations,
        "An account that is not granted cannot subscribe, so its records do not arrive.";
    Bus = "event-bus", Events,
        "Events of all accounts come to this bus, which must take them from the whole organization.";
    BusRules = "event-bus-rules", Events,
        "These rules bring events to the home Region and onto the queues; without them only the sweep finds what is new.";
    ManagementRules = "management-rules", Events,
        "Accounts that join, move or leave are told of in the management account only; without its rule the sweep finds them.";
    ManagementTrail = "management-trail", Events,
        "Events about accounts come only while a trail is logging in the management account.";
    Queue = "queue", Queues,
        "The functions are fed from this queue, and what they cannot do has to end in a dead-letter queue.";
    DeadLetters = "dead-letters", Queues,
        "A function tried these messages until their last receive and gave up; the accounts in them wait for the sweep.";
    MemberRole = "member-role", Accounts,
        "The enroller does everything in an account with this role; without it the account is not enrolled.";
    EnabledRegions = "enabled-regions", Accounts,
        "A Region that an account has not enabled is skipped until it is.";
    MemberRules = "member-rules", Accounts,
        "These rules forward what happens in an account; without them only the sweep finds new VPCs and deleted filters.";
    Trail = "trail", Accounts,
        "Events of API calls come only while a trail is logging in the account and Region; without one only the sweep works.";
    DeliveryRole = "delivery-role", Accounts,
        "Flow logs are delivered to the log group with this role; without it they are ACTIVE and deliver nothing.";
    FilterRole = "filter-role", Accounts,
        "Where the organization is granted, AWS wants a role for every subscription filter.";
    FilterSlots = "filter-slots", Quotas,
        "A log group has five subscription filters at most, which AWS does not raise; ours needs one of them.";
    FlowLogSlots = "flow-log-slots", Quotas,
        "A VPC has 250 flow logs at most; a new one, and a replacement while the old one is still there, needs a free place.";
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
