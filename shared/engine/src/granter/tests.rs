mod announcing;
mod changes;
mod doubts;
mod members;
mod planning;
mod queue;
mod writing;

use enroller_core::error::Code;
use enroller_core::metrics::Metric;

use super::*;
use crate::testing::{ENROLLMENTS, World, away, home, id, ids};

const READ: &str = "logs:DescribeDestinations";
const PUT: &str = "logs:PutDestinationPolicy";
const SEND: &str = "sqs:SendMessage";
const LIST: &str = "organizations:ListAccounts";
const ASK: &str = "organizations:DescribeAccount";

const ONE_REGION: [(&str, &str); 1] = [("regions", "eu-west-1")];

fn sync_work() -> GrantSync {
    GrantSync { sync: true, reason: "test".to_owned(), ..GrantSync::default() }
}

fn joined(numbers: impl IntoIterator<Item = u32>) -> GrantSync {
    GrantSync { joined: ids(numbers), reason: "joined".to_owned(), ..GrantSync::default() }
}

fn requested(numbers: impl IntoIterator<Item = u32>) -> GrantSync {
    GrantSync { requested: ids(numbers), reason: "asked".to_owned(), ..GrantSync::default() }
}

fn departed(numbers: impl IntoIterator<Item = u32>) -> GrantSync {
    GrantSync { departed: ids(numbers), reason: "left".to_owned(), ..GrantSync::default() }
}

fn moved(numbers: impl IntoIterator<Item = u32>) -> GrantSync {
    GrantSync { moved: ids(numbers), reason: "moved".to_owned(), ..GrantSync::default() }
}

async fn sync(granter: &Granter, work: &GrantSync) -> GrantReport {
    granter.sync(work, &mut Metrics::default()).await
}

fn codes(report: &GrantReport) -> Vec<Code> {
    let code = |error: &GranterError| match error {
        GranterError::Aws(error) | GranterError::NotAnswered { source: error, .. } => Some(error.code.clone()),
        GranterError::Contended { .. } | GranterError::UnknownState { .. } => None,
    };
    report.errors.iter().filter_map(code).collect()
}
