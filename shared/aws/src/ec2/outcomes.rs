//! One result for every requested id: a response with HTTP 200 can include failures (EC2 API reference,
//! `Unsuccessful`).

use std::collections::BTreeMap;
use std::fmt::Display;

use aws_sdk_ec2::types::UnsuccessfulItem;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountRegion, FlowLogId, Invalid, VpcId};
use enroller_engine::ports::AwsResult;

use crate::errors::unparsable;
use crate::limits::Api;

/// A response with HTTP 200.
pub(super) struct Answer<'a> {
    operation: &'static str,
    at: &'a AccountRegion,
    request_id: Option<&'a str>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(api: Api, at: &'a AccountRegion, request_id: Option<&'a str>) -> Self {
        Self { operation: api.operation, at, request_id }
    }

    /// The error of each id that AWS names as unsuccessful, and success for the others. A failure that names none of
    /// the ids could belong to any of them, so then none of the others counts as successful.
    pub(super) fn of_each<Id: Clone + Display>(
        &self,
        asked: &[Id],
        failed: &[UnsuccessfulItem],
    ) -> Vec<(Id, AwsResult<()>)> {
        let named = failed.iter().map(|item| (item.resource_id().unwrap_or_default().to_owned(), self.error(item)));
        let mut errors: BTreeMap<String, AwsError> = named.collect();
        let results: Vec<_> = asked.iter().map(|id| (id.clone(), errors.remove(&id.to_string()))).collect();
        let stray = errors
            .into_iter()
            .next()
            .map(|(id, error)| self.unclear(format!("a failure of {id:?}, which was not requested: {error}")));
        let outcome = |error: Option<AwsError>| error.or_else(|| stray.clone()).map_or(Ok(()), Err);
        results.into_iter().map(|(id, error)| (id, outcome(error))).collect()
    }

    /// The id of each VPC's new flow log, or its error.
    pub(super) fn created(
        &self,
        vpcs: &[VpcId],
        made: &[String],
        failed: &[UnsuccessfulItem],
    ) -> Vec<(VpcId, AwsResult<FlowLogId>)> {
        let results = self.of_each(vpcs, failed);
        let expected = results.iter().filter(|(_, result)| result.is_ok()).count();
        let mut ids = made.iter();
        let mut next = || {
            if made.len() != expected {
                return Err(self.unclear(format!("the response has {} flow log ids for {expected} VPCs", made.len())));
            }
            let id = ids.next().map_or("", String::as_str);
            id.parse().map_err(|invalid: Invalid| self.unclear(invalid.to_string()))
        };
        results.into_iter().map(|(vpc, result)| (vpc, result.and_then(|()| next()))).collect()
    }

    fn error(&self, item: &UnsuccessfulItem) -> AwsError {
        let error = item.error();
        let message = error.and_then(|error| error.message()).unwrap_or("no message");
        match error.and_then(|error| error.code()) {
            Some(code) => self.with_request(AwsError::answered(self.operation, code, message)),
            None => self.unclear(format!("a failure without a code: {message}")),
        }
    }

    fn unclear(&self, message: String) -> AwsError {
        self.with_request(unparsable(self.operation, self.at, message))
    }

    fn with_request(&self, error: AwsError) -> AwsError {
        let error = error.at(self.at.account, &self.at.region);
        AwsError { request_id: self.request_id.map(str::to_owned), ..error }
    }
}
