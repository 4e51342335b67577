//! Names chosen in the settings, validated against the patterns that AWS enforces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{Invalid, string_newtype};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);
        string_newtype!($name);
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(Invalid::new($what, text, $expected)) }
            }
        }
    };
}

fn log_group_name(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && !text.starts_with("aws/")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b))
}

/// Filter and destination names: anything but a colon or an asterisk, no control characters.
fn log_name(text: &str) -> bool {
    (1..=512).contains(&text.chars().count()) && !text.chars().any(|c| c == ':' || c == '*' || c.is_control())
}

fn role_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}

name!(
    /// A CloudWatch Logs log group's name.
    ///
    /// Pattern: `[.\-_/#A-Za-z0-9]+`, 1 to 512, not starting with `aws/` (CreateLogGroup).
    LogGroupName, "a log group name", "1 to 512 of A-Z a-z 0-9 . - _ / #, not starting with aws/", log_group_name
);
name!(
    /// A subscription filter's name: `[^:*]*`, 1 to 512 (PutSubscriptionFilter).
    FilterName, "a subscription filter name", "1 to 512 characters without : or *", log_name
);
name!(
    /// A CloudWatch Logs destination's name: `[^:*]*`, 1 to 512 (PutDestination).
    DestinationName, "a destination name", "1 to 512 characters without : or *", log_name
);
name!(
    /// An IAM role's name, without its path: `[\w+=,.@-]+`, 1 to 64 (CreateRole).
    RoleName, "a role name", "1 to 64 of A-Z a-z 0-9 + = , . @ _ -", role_name
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_patterns_of_their_apis() {
        assert!("vpc-flow-logs".parse::<LogGroupName>().is_ok());
        assert!("/org/vpc_flow.logs#1".parse::<LogGroupName>().is_ok());
        for bad in ["", "aws/vpc", "has space", "star*", "colon:"] {
            assert!(bad.parse::<LogGroupName>().is_err(), "{bad}");
        }
        assert!("All Traffic".parse::<FilterName>().is_ok());
        assert!("a:b".parse::<FilterName>().is_err());
        assert!("VpcFlowLogsEnrollerDelivery".parse::<RoleName>().is_ok());
        assert!("path/role".parse::<RoleName>().is_err());
        for good in ["a+b=c,d.e@f_g-h", "A1"] {
            assert!(good.parse::<RoleName>().is_ok(), "{good}");
        }
        for bad in ["", "has space", "é"] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad}");
        }
        for bad in ["", "a:b", "a*", "tab\t"] {
            assert!(bad.parse::<DestinationName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_may_be_as_long_as_their_apis_allow() {
        let long = |count| "x".repeat(count);
        assert!(long(512).parse::<LogGroupName>().is_ok() && long(513).parse::<LogGroupName>().is_err());
        assert!("é".repeat(512).parse::<FilterName>().is_ok() && "é".repeat(513).parse::<FilterName>().is_err());
        assert!(long(64).parse::<RoleName>().is_ok() && long(65).parse::<RoleName>().is_err());
    }
}
