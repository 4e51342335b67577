//! Control Tower's lifecycle events. When Control Tower retries an enrollment, the event is UpdateManagedAccount.

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, field, text_at};
use super::member::account_id;
use super::{Rejection, Trigger};

pub(super) fn decode(record: &Record<'_>) -> Result<Trigger, Rejection> {
    match &*record.name {
        "CreateManagedAccount" => managed(record, "createManagedAccountStatus"),
        "UpdateManagedAccount" => managed(record, "updateManagedAccountStatus"),
        "RegisterOrganizationalUnit" => {
            let status = record.succeeded("registerOrganizationalUnitStatus")?;
            let unit = text_at(status, &["organizationalUnit", "organizationalUnitId"]).map(|unit| cut(&unit, 100));
            Ok(Trigger::sync(
                "RegisterOrganizationalUnit brought a unit's accounts under Control Tower".to_owned(),
                unit,
            ))
        }
        _ => Err(Rejection::ignore(format!("{} of Control Tower adds no account", record.short_name()))),
    }
}

/// An account that cannot be read is found by comparing the whole organization.
fn managed(record: &Record<'_>, status: &str) -> Result<Trigger, Rejection> {
    let status: &Value = record.succeeded(status)?;
    let name = &record.name;
    let Some(account) = field(status, "account").and_then(account_id) else {
        return Ok(Trigger::sync(format!("{name} does not show which account it is about"), None));
    };
    let cause = format!("{name} put {account} under Control Tower");
    Ok(Trigger::Grant { account, requested: false, cause })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::*;
    use super::*;

    fn managed_account(name: &str, account: &Value, state: &str) -> Value {
        let status = format!("{}{}Status", name[..1].to_lowercase(), &name[1..]);
        let details = json!({status: {"account": {"accountName": "team-a", "accountId": account}, "state": state,
            "message": "AWS Control Tower said so.", "completedTimestamp": "2019-11-16T12:09:32+0000"}});
        service_event("controltower", name).service_details(details).top("account", json!("XXXXXXXXXXXX")).build()
    }

    #[test]
    fn a_managed_account_is_granted() {
        for name in ["CreateManagedAccount", "UpdateManagedAccount"] {
            for state in ["SUCCEEDED", "Succeeded"] {
                let Trigger::Grant { account: target, .. } = acted(&managed_account(name, &json!(MEMBER), state))
                else {
                    panic!("{name} is not a grant")
                };
                assert_eq!(target, account(MEMBER));
            }
        }
    }

    #[test]
    fn a_hidden_account_id_triggers_a_sync_and_a_failure_is_ignored() {
        for id in [json!("XXXXXXXXXXXX"), json!(null), json!(7), json!("1111222233334")] {
            let event = managed_account("CreateManagedAccount", &id, "SUCCEEDED");
            assert!(matches!(acted(&event), Trigger::Sync { allow_mass_revocation: false, .. }), "{id}");
        }
        let event = service_event("controltower", "UpdateManagedAccount").service_details(json!({"omitted": true}));
        assert!(matches!(acted(&event.build()), Trigger::Sync { .. }));
        let reason = ignored(&managed_account("CreateManagedAccount", &json!(MEMBER), "FAILED"));
        assert!(reason.contains("FAILED (AWS Control Tower said so.)"), "{reason}");
    }

    #[test]
    fn a_registered_unit_triggers_a_sync() {
        let details = json!({"registerOrganizationalUnitStatus": {"state": "SUCCEEDED",
            "organizationalUnit": {"organizationalUnitName": "Test", "organizationalUnitId": "ou-exam-11111111"}}});
        let event = service_event("controltower", "RegisterOrganizationalUnit").service_details(details);
        let Trigger::Sync { resource, allow_mass_revocation, .. } = acted(&event.build()) else { panic!("not a sync") };
        assert_eq!((resource.as_deref(), allow_mass_revocation), (Some("ou-exam-11111111"), false));
    }

    #[test]
    fn other_events_and_calls_of_the_same_name_are_ignored() {
        ignored(&service_event("controltower", "SetupLandingZone").build());
        let mut call = managed_account("CreateManagedAccount", &json!(MEMBER), "SUCCEEDED");
        call["detail"]["eventType"] = json!("AwsApiCall");
        assert!(ignored(&call).contains("API call"));
    }
}
