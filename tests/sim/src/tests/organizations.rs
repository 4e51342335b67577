use serde_json::json;

use super::*;
use crate::NewAccount;
use crate::organizations::AccountState;

const SERVICE: Service = Service::Organizations;

fn big() -> Sim {
    SimBuilder { accounts: 45, regions: vec![REGION.to_owned()], vpcs: 0, ..SimBuilder::default() }.build()
}

fn list(caller: &Caller) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut sizes, mut input) = (Vec::new(), Vec::new(), json!({}));
    loop {
        let page = caller.json(SERVICE, "ListAccounts", input);
        let accounts = page["Accounts"].as_array().unwrap();
        sizes.push(accounts.len());
        ids.extend(accounts.iter().map(|account| account["Id"].as_str().unwrap().to_owned()));
        match &page["NextToken"] {
            Value::Null => return (ids, sizes),
            token => input = json!({"NextToken": token}),
        }
    }
}

#[test]
fn accounts_come_in_pages_of_20_and_empty_pages_may_come_between() {
    let sim = big();
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let (ids, sizes) = list(&central);
    assert_eq!((ids, sizes), (sim.members(), vec![20, 20, 5]));
    sim.with(|world| world.settings.empty_pages = true);
    let (ids, sizes) = list(&central);
    assert_eq!((ids, sizes), (sim.members(), vec![0, 20, 0, 20, 0, 5]));
    let refusal = central.call(SERVICE, "ListAccounts", json!({"MaxResults": 21})).unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_str()), (400, "InvalidInputException"));
}

#[test]
fn an_account_shows_its_state_and_path_and_no_retired_status() {
    let sim = small();
    let (central, member) = (Caller::of(&sim, &sim.central(), GLOBAL), others(&sim)[0].clone());
    let describe = || central.json(SERVICE, "DescribeAccount", json!({"AccountId": member}))["Account"].clone();
    let account = describe();
    let path = sim.with(|world| world.organization.path_of(&member).unwrap().to_owned());
    assert_eq!(account["Paths"], json!([format!("{path}{member}/")]));
    assert_eq!((account["State"].as_str(), account.get("Status")), (Some("ACTIVE"), None));
    assert!(account["JoinedTimestamp"].is_number());
    sim.with(|world| world.settings.account_paths = false);
    assert_eq!(describe().get("Paths"), None);
}

#[test]
fn the_tree_can_be_walked_from_the_root_to_every_account() {
    let sim = big();
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let root = central.json(SERVICE, "ListRoots", json!({}))["Roots"][0]["Id"].clone();
    let units = central.json(SERVICE, "ListOrganizationalUnitsForParent", json!({"ParentId": root}));
    let mut parents = vec![root];
    parents.extend(units["OrganizationalUnits"].as_array().unwrap().iter().map(|unit| unit["Id"].clone()));
    let mut found = Vec::new();
    for parent in parents {
        let mut input = json!({"ParentId": parent, "ChildType": "ACCOUNT"});
        loop {
            let page = central.json(SERVICE, "ListChildren", input.clone());
            for child in page["Children"].as_array().unwrap() {
                let parents = central.json(SERVICE, "ListParents", json!({"ChildId": child["Id"]}));
                assert_eq!(parents["Parents"][0]["Id"], parent);
                found.push(child["Id"].as_str().unwrap().to_owned());
            }
            if page["NextToken"].is_null() {
                break;
            }
            input["NextToken"] = page["NextToken"].clone();
        }
    }
    found.sort_unstable();
    assert_eq!(found, sim.members());
}

#[test]
fn only_the_management_account_and_delegated_administrators_may_read() {
    let sim = small();
    let member = Caller::of(&sim, &others(&sim)[0], GLOBAL);
    assert_eq!(member.code(SERVICE, "ListAccounts", json!({})), "AccessDeniedException");
    assert!(member.call(SERVICE, "DescribeOrganization", json!({})).is_ok());
    let stranger = sim.with(|world| world.add_account("stranger"));
    let stranger = Caller::of(&sim, &stranger, GLOBAL);
    assert_eq!(stranger.code(SERVICE, "DescribeOrganization", json!({})), "AWSOrganizationsNotInUseException");
    for account in [sim.management(), sim.central()] {
        assert!(Caller::of(&sim, &account, GLOBAL).call(SERVICE, "ListAccounts", json!({})).is_ok());
        let elsewhere = Caller::of(&sim, &account, REGION);
        assert_eq!(elsewhere.code(SERVICE, "ListAccounts", json!({})), "InvalidSignatureException");
    }
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let sim = small();
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let cases = [
        ("DescribeAccount", json!({"AccountId": "999999999999"}), "AccountNotFoundException"),
        ("DescribeAccount", json!({"AccountId": "12"}), "InvalidInputException"),
        (
            "DescribeOrganizationalUnit",
            json!({"OrganizationalUnitId": "ou-abcd-01234567"}),
            "OrganizationalUnitNotFoundException",
        ),
        ("ListAccountsForParent", json!({"ParentId": "ou-abcd-01234567"}), "ParentNotFoundException"),
        ("ListParents", json!({"ChildId": "999999999999"}), "ChildNotFoundException"),
        ("ListAccounts", json!({"NextToken": "made up"}), "InvalidInputException"),
        ("ListAccounts", json!({"Frob": 1}), "UnknownParameter"),
        ("CloseAccount", json!({}), "UnknownOperationException"),
    ];
    for (operation, input, code) in cases {
        assert_eq!(central.code(SERVICE, operation, input.clone()), code, "{operation} {input}");
    }
}

#[test]
fn the_management_account_alone_throws_members_out_and_never_itself() {
    let sim = small();
    let (management, central) = (sim.management(), sim.central());
    let member = sim.members().into_iter().find(|id| *id != management && *id != central).unwrap();
    let remove = |account: &str| json!({ "AccountId": account });
    let of_central = Caller::of(&sim, &central, GLOBAL);
    assert_eq!(of_central.code(SERVICE, "RemoveAccountFromOrganization", remove(&member)), "AccessDeniedException");
    let of_management = Caller::of(&sim, &management, GLOBAL);
    let code = |account| of_management.code(SERVICE, "RemoveAccountFromOrganization", remove(account));
    assert_eq!(code(&management), "MasterCannotLeaveOrganizationException");
    assert_eq!(code("999999999999"), "AccountNotFoundException");
    of_management.json(SERVICE, "RemoveAccountFromOrganization", remove(&member));
    assert!(!sim.members().contains(&member));
}

#[test]
fn a_listing_lags_as_far_as_is_set_and_the_word_about_one_account_does_not() {
    let sim = small();
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let before = sim.members();
    sim.with(|world| world.settings.listing_lag_ms = 60_000);
    assert_eq!(list(&central).0, before, "what was there from the beginning is listed");
    let (leaving, closing) = (others(&sim)[0].clone(), others(&sim)[1].clone());
    let joining = sim.with(|world| {
        world.leave(&leaving).unwrap();
        world.set_account_state(&closing, AccountState::Closed).unwrap();
        world.create_account(&NewAccount::default()).unwrap()
    });
    let state = || {
        let listed = central.json(SERVICE, "ListAccounts", json!({}))["Accounts"].as_array().unwrap().clone();
        listed.into_iter().find(|it| it["Id"] == *closing).map(|it| it["State"].clone())
    };
    sim.advance(59_999);
    assert_eq!((list(&central).0, state()), (before, Some(json!("ACTIVE"))));
    assert_eq!(central.code(SERVICE, "DescribeAccount", json!({"AccountId": leaving})), "AccountNotFoundException");
    assert!(central.call(SERVICE, "DescribeAccount", json!({"AccountId": joining})).is_ok());
    sim.advance(1);
    assert_eq!((list(&central).0, state()), (sim.members(), Some(json!("CLOSED"))));
}
