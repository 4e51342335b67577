//! AWS's Regions.

/// Region of the global services: the signing Region of IAM and Organizations and the home of the latter's events.
pub(crate) const GLOBAL_REGION: &str = "us-east-1";

/// Regions that have to be opted in to (AWS account management guide, "Enable or disable AWS Regions").
const OPT_IN: [&str; 17] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
];

/// Whether an account has to opt in to the Region before it can use it.
pub(crate) fn is_opt_in(region: &str) -> bool {
    OPT_IN.contains(&region)
}
