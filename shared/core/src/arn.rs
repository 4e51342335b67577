//! ARNs, always built with the right partition.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, Invalid, Partition, Region};
use crate::names::{DestinationName, LogGroupName, RoleName};

/// A parsed Amazon Resource Name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    partition: Partition,
    service: Box<str>,
    region: Option<Region>,
    account: Option<AccountId>,
    resource: Box<str>,
}

impl Arn {
    /// The partition the resource is in.
    pub fn partition(&self) -> Partition {
        self.partition
    }
    /// The service's namespace: `logs`, `iam`, `firehose`.
    pub fn service(&self) -> &str {
        &self.service
    }
    /// The Region, absent for global resources such as IAM roles.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }
    /// The owning account, absent for resources such as S3 buckets.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }
    /// Everything after the account: `role/path/Name`, `destination:Name`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    fn new(partition: Partition, service: &str, region: Option<&Region>, account: AccountId, resource: String) -> Self {
        Self {
            partition,
            service: service.into(),
            region: region.cloned(),
            account: Some(account),
            resource: resource.into(),
        }
    }

    /// The ARN of an IAM role without a path.
    pub fn role(partition: Partition, account: AccountId, name: &RoleName) -> Self {
        Self::new(partition, "iam", None, account, format!("role/{name}"))
    }

    /// The ARN of a log group without the trailing `:*`, the form that tagging and flow logs require.
    pub fn log_group(region: &Region, account: AccountId, name: &LogGroupName) -> Self {
        Self::new(region.partition(), "logs", Some(region), account, format!("log-group:{name}"))
    }

    /// The ARN of a CloudWatch Logs destination.
    pub fn destination(region: &Region, account: AccountId, name: &DestinationName) -> Self {
        Self::new(region.partition(), "logs", Some(region), account, format!("destination:{name}"))
    }

    /// The destination's name, if this ARN is a destination's.
    pub fn destination_name(&self) -> Option<DestinationName> {
        let name = self.resource.strip_prefix("destination:")?;
        if &*self.service == "logs" { name.parse().ok() } else { None }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:{}:", self.partition, self.service)?;
        if let Some(region) = &self.region {
            write!(f, "{region}")?;
        }
        f.write_str(":")?;
        if let Some(account) = &self.account {
            write!(f, "{account}")?;
        }
        write!(f, ":{}", self.resource)
    }
}

impl fmt::Debug for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Arn {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("an ARN", text, "arn:partition:service:region:account:resource");
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(invalid);
        let (arn, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        let service_ok =
            !service.is_empty() && service.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let resource_ok = !resource.is_empty() && !resource.chars().any(char::is_control);
        if arn != "arn" || !service_ok || !resource_ok {
            return Err(invalid());
        }
        let region: Option<Region> = (!region.is_empty()).then(|| region.parse()).transpose()?;
        let account = (!account.is_empty()).then(|| account.parse()).transpose()?;
        let partition: Partition = partition.parse()?;
        if region.as_ref().is_some_and(|region| region.partition() != partition) {
            return Err(invalid());
        }
        Ok(Self { partition, service: service.into(), region, account, resource: resource.into() })
    }
}

impl TryFrom<String> for Arn {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_arn_carries_the_partition_of_its_region() {
        let account = "111122223333".parse().unwrap();
        let name = "VPCFlowLogsDestination".parse().unwrap();
        let arn = Arn::destination(&"cn-north-1".parse().unwrap(), account, &name);
        assert_eq!(arn.to_string(), "arn:aws-cn:logs:cn-north-1:111122223333:destination:VPCFlowLogsDestination");
        assert_eq!(arn.destination_name(), Some(name));
    }

    #[test]
    fn resources_of_every_kind_of_service_are_parsed() {
        for (text, service, region, account, resource) in [
            ("arn:aws:s3:::bucket/key", "s3", None, None, "bucket/key"),
            ("arn:aws:iam::111122223333:role/a/b", "iam", None, Some("111122223333"), "role/a/b"),
            (
                "arn:aws:execute-api:eu-west-1:111122223333:x/*",
                "execute-api",
                Some("eu-west-1"),
                Some("111122223333"),
                "x/*",
            ),
            (
                "arn:aws-us-gov:logs:us-gov-west-1:111122223333:log-group:a:*",
                "logs",
                Some("us-gov-west-1"),
                Some("111122223333"),
                "log-group:a:*",
            ),
        ] {
            let arn: Arn = text.parse().unwrap();
            let named = arn.account().map(|account| account.to_string());
            assert_eq!((arn.service(), arn.region().map(Region::as_str)), (service, region), "{text}");
            assert_eq!((named.as_deref(), arn.resource()), (account, resource), "{text}");
            assert_eq!(format!("{arn:?}"), text);
        }
    }

    #[test]
    fn only_a_destination_of_cloudwatch_logs_has_a_destinations_name() {
        for text in
            ["arn:aws:logs:eu-west-1:111122223333:log-group:x", "arn:aws:s3:eu-west-1:111122223333:destination:x"]
        {
            assert_eq!(text.parse::<Arn>().unwrap().destination_name(), None, "{text}");
        }
    }

    #[test]
    fn an_arn_is_a_string_in_json() {
        let text = "\"arn:aws:iam::111122223333:role/Writer\"";
        let arn: Arn = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&arn).unwrap(), text);
        assert!(serde_json::from_str::<Arn>("\"role/Writer\"").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "arn",
            "arn:aws:logs:eu-west-1:111122223333",
            "arn:aws:logs:eu-west-1:111122223333:",
            "arn:aws:logs:eu-west-1:1111:destination:x",
            "arn:mars:logs:eu-west-1:111122223333:destination:x",
            "arn:aws-cn:logs:eu-west-1:111122223333:destination:x",
            "arn:aws:LOGS:eu-west-1:111122223333:destination:x",
            "arn:aws:lögs:eu-west-1:111122223333:destination:x",
            "arn:aws::eu-west-1:111122223333:destination:x",
            "arn:aws:logs:eu-west-1:111122223333:a\nb",
            "urn:aws:logs:eu-west-1:111122223333:destination:x",
        ] {
            assert!(bad.parse::<Arn>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_rendered_parses_to_the_same_arn(number in 0u64..1_000_000_000_000, name in "[A-Za-z0-9]{1,40}") {
            let account: AccountId = format!("{number:012}").parse().unwrap();
            let region: Region = "ap-south-1".parse().unwrap();
            let arn = Arn::log_group(&region, account, &name.parse().unwrap());
            prop_assert_eq!(arn.to_string().parse::<Arn>().unwrap(), arn);
        }

        #[test]
        fn what_parses_is_written_back_as_it_was(
            text in "arn:(aws|aws-cn|mars|):(logs|iam|S3|):(eu-west-1|cn-north-1|x|):([0-9]{11,12}|):.{0,20}|.{0,200}",
        ) {
            if let Ok(arn) = text.parse::<Arn>() {
                prop_assert_eq!(arn.to_string(), text);
            }
        }
    }
}
