//! Identifiers of AWS resources, as validated types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A value that failed validation, with what would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {what}: expected {expected}")]
pub struct Invalid {
    /// What the value should have been, with its article: "an account id".
    pub what: &'static str,
    /// The rejected value, cut to 80 characters because it may come from an untrusted event.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl Invalid {
    /// A rejection of `value`, which is cut to 80 characters; see the fields for the wording.
    pub fn new(what: &'static str, value: &str, expected: &'static str) -> Self {
        Self { what, value: value.chars().take(80).collect(), expected }
    }
}

/// Implements what every validated string shares: `as_str`, `Display`, `Debug`, and the conversions serde goes through.
macro_rules! string_newtype {
    ($name:ident) => {
        impl $name {
            /// The text as AWS writes it.
            pub fn as_str(&self) -> &str {
                self.0.as_ref()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::ids::Invalid;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.as_str().to_owned()
            }
        }
    };
}
pub(crate) use string_newtype;

/// A 12-digit AWS account id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(u64);

impl AccountId {
    /// The number of digits in an account id.
    pub const DIGITS: usize = 12;
}

impl FromStr for AccountId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.len() == Self::DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(Invalid::new("an account id", text, "12 digits")),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:012}", self.0))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for AccountId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> String {
        id.to_string()
    }
}

/// An AWS partition. Roles, events and ARNs never cross its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// `aws`: the commercial Regions.
    Aws,
    /// The Regions in China.
    AwsCn,
    /// `aws-us-gov`: AWS GovCloud (US).
    AwsUsGov,
    /// `aws-eusc`: the AWS European Sovereign Cloud.
    AwsEusc,
}

impl Partition {
    /// The partition as ARNs write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsEusc => "aws-eusc",
        }
    }

    /// The Region of this partition's AWS Organizations endpoint, for which requests are also signed.
    ///
    /// Source: botocore `endpoints.json` and `partitions.json` (implicitGlobalRegion); AWS General Reference, "AWS
    /// Organizations endpoints and quotas".
    pub const fn organizations_region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::AwsCn => "cn-northwest-1",
            Self::AwsUsGov => "us-gov-west-1",
            Self::AwsEusc => "eusc-de-east-1",
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Partition {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "aws" => Ok(Self::Aws),
            "aws-cn" => Ok(Self::AwsCn),
            "aws-us-gov" => Ok(Self::AwsUsGov),
            "aws-eusc" => Ok(Self::AwsEusc),
            _ => Err(Invalid::new("a partition", text, "aws, aws-cn, aws-us-gov or aws-eusc")),
        }
    }
}

/// A Region's code, such as `eu-west-1`. It is well formed, but an account may not have it enabled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(Box<str>);
string_newtype!(Region);

impl Region {
    /// The partition of this Region, taken from its prefix.
    pub fn partition(&self) -> Partition {
        if self.0.starts_with("cn-") {
            Partition::AwsCn
        } else if self.0.starts_with("us-gov-") {
            Partition::AwsUsGov
        } else if self.0.starts_with("eusc-") {
            Partition::AwsEusc
        } else {
            Partition::Aws
        }
    }
}

impl FromStr for Region {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split('-').collect();
        let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        let well_formed = match parts.as_slice() {
            [area, account_regions @ .., number] => {
                (area.len() == 2 || *area == "eusc")
                    && letters(area)
                    && (1..=2).contains(&account_regions.len())
                    // [`Partition`] does not include the isolated partitions (`us-iso-east-1`).
                    && account_regions.iter().all(|part| letters(part) && !part.starts_with("iso"))
                    && (1..=2).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit())
            }
            [] | [_] => false,
        };
        if well_formed && text.len() <= 25 {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("a Region", text, "a code such as eu-west-1"))
        }
    }
}

fn hex_id(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|hex| {
        matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// A VPC's id: `vpc-` and 8 or 17 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VpcId(Box<str>);
string_newtype!(VpcId);

impl FromStr for VpcId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if hex_id("vpc-", text) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("a VPC id", text, "vpc- and 8 or 17 hexadecimal digits"))
        }
    }
}

/// A flow log's id: `fl-` and 8 or 17 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowLogId(Box<str>);
string_newtype!(FlowLogId);

impl FromStr for FlowLogId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if hex_id("fl-", text) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("a flow log id", text, "fl- and 8 or 17 hexadecimal digits"))
        }
    }
}

fn lower_alphanumeric(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// An organization's id: `o-` and 10 to 32 lower-case letters or digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrganizationId(Box<str>);
string_newtype!(OrganizationId);

impl FromStr for OrganizationId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.strip_prefix("o-").is_some_and(|rest| lower_alphanumeric(rest, 10..=32)) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("an organization id", text, "o- and 10 to 32 lower-case letters or digits"))
        }
    }
}

/// A root (`r-…`) or organizational unit (`ou-…-…`): any parent of an account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParentId(Box<str>);
string_newtype!(ParentId);

impl FromStr for ParentId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let root = text.strip_prefix("r-").is_some_and(|rest| lower_alphanumeric(rest, 4..=32));
        let unit = text
            .strip_prefix("ou-")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(root, unit)| lower_alphanumeric(root, 4..=32) && lower_alphanumeric(unit, 8..=32));
        if root || unit {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("a root or organizational unit", text, "r-xxxx or ou-xxxx-xxxxxxxx"))
        }
    }
}

/// An account in a Region: the unit of enrollment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields are what the type's name says")]
pub struct AccountRegion {
    pub account: AccountId,
    pub region: Region,
}

impl fmt::Display for AccountRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.account, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_keeps_its_leading_zeros() {
        let id: AccountId = "000000000123".parse().unwrap();
        assert_eq!(id.to_string(), "000000000123");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"000000000123\"");
    }

    #[test]
    fn ids_with_shell_or_arn_characters_are_refused() {
        for bad in ["", "12345678901", "1234567890123", "+23456789012", "12345678901x", "１23456789012"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
        for bad in
            ["vpc-", "vpc-123", "vpc-0123456789abcdefg", "vpc-01234567;rm", "VPC-01234567", "vpc-0123456789ABCDEF0"]
        {
            assert!(bad.parse::<VpcId>().is_err(), "{bad}");
        }
        for bad in ["", "eu", "eu-1", "eu-west-", "eu-west-1:", "-west-1", "eu--1", "EU-west-1", "us-iso-east-1"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
        for bad in ["o-", "o-short", "o-UPPERCASE12", "x-exampleorg1"] {
            assert!(bad.parse::<OrganizationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_id_is_accepted_up_to_its_limits_and_shown_as_written() {
        fn accepted<T: FromStr<Err = Invalid> + fmt::Display + fmt::Debug>(good: &[&str], bad: &[&str]) {
            for text in good {
                let id: T = text.parse().unwrap();
                assert_eq!((id.to_string(), format!("{id:?}")), ((*text).to_owned(), (*text).to_owned()));
                assert_eq!(format!("{id:>40}").len(), 40, "{text}");
            }
            for text in bad {
                assert!(text.parse::<T>().is_err(), "{text}");
            }
        }
        let (ten, thirty_two) = (format!("o-{}", "a".repeat(10)), format!("o-{}", "1".repeat(32)));
        let (nine, thirty_three) = (format!("o-{}", "a".repeat(9)), format!("o-{}", "1".repeat(33)));
        accepted::<OrganizationId>(&[&ten, &thirty_two], &[&nine, &thirty_three, "exampleorg1", "o-exampleörg1"]);
        accepted::<AccountId>(&["000000000000", "999999999999"], &["99999999999", " 99999999999"]);
        accepted::<VpcId>(
            &["vpc-01234567", "vpc-0123456789abcdef0"],
            &["vpc-0123456789abcdef", "fl-01234567", "vpc-0123456G"],
        );
        accepted::<FlowLogId>(&["fl-89abcdef", "fl-0123456789abcdef0"], &["fl-0123456", "vpc-01234567", "fl-0123456g"]);
        accepted::<Region>(
            &["eu-west-1", "us-gov-west-1", "eusc-de-east-1", "ap-southeast-12", "mx-centralcentralcentra-1"],
            &[
                "eur-west-1",
                "eusd-de-east-1",
                "eu-west-123",
                "eu-we5t-1",
                "eu-west-a",
                "us-a-b-c-1",
                "mx-centralcentralcentral-1",
                "us-isob-1",
            ],
        );
        accepted::<ParentId>(
            &["r-ab12", "ou-ab12-abcdefgh", &format!("r-{}", "a".repeat(32)), &format!("ou-ab12-{}", "a".repeat(32))],
            &[
                "r-ab1",
                "r-AB12",
                "ou-ab12",
                "ou-ab1-abcdefgh",
                "ou-ab12-abcdefg",
                "x-ab12",
                "ou-ab12-abcdefg-",
                &format!("r-{}", "a".repeat(33)),
                &format!("ou-ab12-{}", "a".repeat(33)),
            ],
        );
    }

    #[test]
    fn a_partition_is_written_as_in_arns_and_has_an_organizations_region() {
        for (partition, text, region) in [
            (Partition::Aws, "aws", "us-east-1"),
            (Partition::AwsCn, "aws-cn", "cn-northwest-1"),
            (Partition::AwsUsGov, "aws-us-gov", "us-gov-west-1"),
            (Partition::AwsEusc, "aws-eusc", "eusc-de-east-1"),
        ] {
            assert_eq!((partition.as_str(), partition.to_string().as_str()), (text, text));
            assert_eq!(text.parse(), Ok(partition));
            assert_eq!(partition.organizations_region(), region);
            assert_eq!(region.parse::<Region>().unwrap().partition(), partition);
        }
        assert!("aws-iso".parse::<Partition>().is_err());
    }

    #[test]
    fn ids_are_texts_in_json_and_checked_there_too() {
        for text in ["\"eu-west-1\"", "\"us-gov-east-1\""] {
            let region: Region = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&region).unwrap(), text);
        }
        assert!(serde_json::from_str::<Region>("\"mars\"").is_err());
        assert_eq!(serde_json::from_str::<AccountId>("\"000000000001\"").unwrap().to_string(), "000000000001");
        assert!(serde_json::from_str::<AccountId>("\"1\"").is_err() && serde_json::from_str::<AccountId>("1").is_err());
    }

    #[test]
    fn an_account_region_is_shown_with_both() {
        let at = AccountRegion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        assert_eq!(at.to_string(), "111122223333 in eu-west-1");
    }

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, partition) in [
            ("eu-west-1", Partition::Aws),
            ("us-gov-west-1", Partition::AwsUsGov),
            ("cn-north-1", Partition::AwsCn),
            ("ap-southeast-4", Partition::Aws),
        ] {
            assert_eq!(region.parse::<Region>().unwrap().partition(), partition);
        }
    }

    #[test]
    fn a_rejection_says_what_is_expected_and_is_short() {
        let error = "x".repeat(500).parse::<VpcId>().unwrap_err();
        assert!(error.to_string().len() < 200);
        assert!(error.to_string().contains("vpc- and 8 or 17 hexadecimal digits"));
    }
}
