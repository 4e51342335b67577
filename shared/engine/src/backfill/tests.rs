mod dry_run;
mod orders;
mod queueing;

use std::collections::BTreeSet;

use enroller_core::ids::Region;

use super::*;
use crate::testing::{World, away, home, id, ids};

const SEND: &str = "sqs:SendMessage";
const LIST: &str = "organizations:ListAccounts";
const RUN: &str = "run-1";

fn begin(request: BackfillRequest) -> BackfillCommand {
    BackfillCommand::Begin { request, run_id: RUN.to_owned() }
}

fn everything() -> BackfillCommand {
    begin(BackfillRequest::default())
}

fn in_region(region: Region) -> BackfillRequest {
    BackfillRequest { regions: BTreeSet::from([region]), ..BackfillRequest::default() }
}
