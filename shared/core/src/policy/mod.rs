//! Policy documents: who may subscribe to a destination, and what the roles in member accounts may do.
//!
//! | document | it is in |
//! |---|---|
//! | access policy of a CloudWatch Logs destination | [`destination`] |
//! | role that flow logs are delivered with | [`delivery_role`] |
//! | role that subscription filters deliver with, needed where a policy names the organization | [`filter_role`] |
//! | reading policies of any author, comparing meanings instead of texts | [`document`] |

use serde_json::{Value, json};

use crate::ids::AccountId;

pub mod delivery_role;
pub mod destination;
pub mod document;
pub mod filter_role;
mod others;

pub use destination::{DestinationPolicy, MAX_POLICY_BYTES, PolicyError};
pub use document::equivalent;

/// A trust policy for a service that acts for resources of this account whose ARNs match `sources`, and for no others.
fn service_trust(service: &str, account: AccountId, sources: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": sources}},
        }],
    })
}
