//! The coverage of inspected accounts: the one judgement of what is covered, by which plan and coverage go.

use std::collections::BTreeMap;

use enroller_core::coverage::{CoverageReport, FailureClass, InspectedRegion, InspectionFailure, Survey};
use enroller_core::error::Disposition;
use enroller_core::settings::Settings;
use enroller_engine::coverage::{AccountRegionSnapshot, AccountSnapshot};
use enroller_engine::reconcile_error::ReconcileError;

use crate::next_step;

/// The coverage of these accounts, without the time.
pub(crate) fn coverage_of(settings: &Settings, accounts: &[AccountSnapshot]) -> CoverageReport {
    let mut survey = Survey::default();
    for account in accounts {
        add(&mut survey, settings, account);
    }
    survey.finish(settings, String::new(), BTreeMap::new())
}

fn add(survey: &mut Survey, settings: &Settings, account: &AccountSnapshot) {
    if let Some(why) = &account.left_out {
        survey.leave_out(&account.account, None, why);
    }
    for at in &account.account_regions {
        let failure = at.found.as_ref().err().map(failure);
        let looked = match (&at.found, &failure) {
            (Ok((observed, plan)), _) => Ok((observed, plan)),
            (Err(_), Some(failure)) => Err(failure),
            // This cannot happen, because `failure` is derived from the same error.
            (Err(_), None) => continue,
        };
        let AccountRegionSnapshot { at, granted_on, doubt, .. } = at;
        let (at, granted_on, doubt) = (at.clone(), granted_on.clone(), doubt.clone());
        survey.add(settings, &InspectedRegion { account: &account.account, at, granted_on, doubt, looked });
    }
}

fn failure(errors: &ReconcileError) -> InspectionFailure {
    let disposition = errors.disposition();
    let class = match disposition {
        Disposition::Skip(_) => FailureClass::Skipped,
        Disposition::RetrySoon | Disposition::RetryLater(_) => FailureClass::Later,
        Disposition::AlreadyThere | Disposition::Absent | Disposition::Terminal(_) => FailureClass::Failed,
    };
    let request_id = errors.aws_error().and_then(|error| error.request_id.clone());
    InspectionFailure { text: errors.to_string(), class, request_id, next_step: next_step::of_disposition(disposition) }
}
