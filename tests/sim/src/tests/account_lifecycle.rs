use super::*;
use crate::account_lifecycle::{LifecycleError, NewAccount};
use crate::organizations::AccountState;

fn new_account(name: &str) -> NewAccount {
    NewAccount { name: name.to_owned(), ..NewAccount::default() }
}

#[test]
fn a_created_account_has_default_vpcs_and_the_role_of_its_creator() {
    let sim = small();
    let account = sim.with(|world| world.create_account(&new_account("fresh"))).unwrap();
    sim.with(|world| {
        assert!(world.organization.is_member(&account));
        for region in [REGION, GLOBAL] {
            let defaults: Vec<bool> = world.ec2.vpcs(&account, region).map(|vpc| vpc.is_default).collect();
            assert_eq!(defaults, [true], "{region}");
        }
        assert!(world.iam.role(&account, "OrganizationAccountAccessRole").is_some());
    });
}

#[test]
fn an_invited_account_lacks_that_role_and_stands_under_the_root() {
    let sim = small();
    sim.with(|world| {
        let account = world.add_account("invited");
        assert!(!world.organization.is_member(&account));
        world.accept_invitation(&account).unwrap();
        assert_eq!(world.organization.member(&account).unwrap().parent, world.organization.root());
        assert!(world.iam.role(&account, "OrganizationAccountAccessRole").is_none());
        assert_eq!(world.accept_invitation(&account), Err(LifecycleError::Member(account)));
    });
}

#[test]
fn a_move_changes_the_path() {
    let sim = small();
    let account = others(&sim)[0].clone();
    sim.with(|world| {
        let unit = world.organization.units().find(|(_, unit)| unit.name == "Security").unwrap().0.to_owned();
        world.move_account(&account, &unit).unwrap();
        let expected = format!("{}/{}/{unit}/", world.organization.id(), world.organization.root());
        assert_eq!(world.organization.path_of(&account), Some(expected.as_str()));
        assert_eq!(world.move_account(&account, "ou-0"), Err(LifecycleError::NoSuchParent("ou-0".to_owned())));
    });
}

#[test]
fn a_leaving_account_stays_an_account_and_a_cleaned_one_does_not() {
    let sim = small();
    let [leaver, closer] = <[String; 2]>::try_from(others(&sim)).unwrap();
    sim.with(|world| {
        world.leave(&leaver).unwrap();
        assert!(!world.organization.is_member(&leaver) && world.accounts.contains_key(&leaver));
        world.close(&closer).unwrap();
        assert_eq!(world.organization.state_of(&closer), Some(AccountState::PendingClosure));
        assert!(world.organization.is_member(&closer));
        world.finish_closing(&closer).unwrap();
        assert!(!world.organization.is_member(&closer) && world.organization.member(&closer).is_some());
        world.clean_up(&closer).unwrap();
        assert!(world.organization.member(&closer).is_none() && !world.accounts.contains_key(&closer));
        let management = world.organization.management().to_owned();
        assert_eq!(world.leave(&management), Err(LifecycleError::Management(management)));
        assert_eq!(world.remove(&leaver), Err(LifecycleError::NotAMember(leaver)));
    });
}

#[test]
fn the_same_seed_builds_the_same_organization() {
    let accounts = |seed| SimBuilder { seed, ..SimBuilder::default() }.build().members();
    assert_eq!(accounts(3), accounts(3));
    assert_ne!(accounts(3), accounts(4));
}
