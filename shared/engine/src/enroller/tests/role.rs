use std::sync::Arc;

use enroller_core::log::Outcome;
use enroller_core::observed::Tags;
use enroller_core::policy::delivery_role::{permissions, trust_policy};
use serde_json::{Value, json};

use super::*;
use crate::ports::Role;
use crate::testing::id;

const MAKER: [(&str, &str); 1] = [("delivery_role_maker", "enroller")];

fn trust(world: &World) -> Value {
    trust_policy(world.settings.partition(), id(1))
}

/// Puts the delivery role, with or without the inline policy as it should be.
fn put_role(world: &World, trust: Value, tags: Tags, with_policy: bool) {
    let settings = &world.settings;
    let key = (id(1), settings.delivery_role_name.clone());
    world.roles.roles.lock().unwrap().insert(key.clone(), Role { trust, tags });
    if with_policy {
        let document = permissions(settings.partition(), id(1), &settings.log_group_name);
        let policy = settings.delivery_role_policy_name.clone();
        world.roles.policies.lock().unwrap().insert((key, policy), document);
    }
}

fn role_changes(world: &World) -> Vec<&'static str> {
    world.journal.changes().into_iter().filter(|operation| operation.starts_with("iam:")).collect()
}

#[tokio::test]
async fn the_role_is_made_once_for_all_regions() {
    let world = World::fresh(&MAKER);
    let report = reconcile(&world).await;
    assert_eq!(role_changes(&world), ["iam:CreateRole", "iam:PutRolePolicy"]);
    assert_eq!(world.journal.count("iam:GetRole"), 1);
    let made: usize = report.account_regions.iter().map(|it| it.changes).sum();
    assert_eq!(made, 4 + 4 + 1, "counted in one of the Regions");
}

#[tokio::test]
async fn a_role_that_is_right_is_left_as_it_is() {
    let world = World::fresh(&MAKER);
    put_role(&world, trust(&world), world.own_tags(), true);
    reconcile(&world).await;
    assert!(role_changes(&world).is_empty());
}

#[tokio::test]
async fn a_role_of_others_is_used_as_it_is() {
    let world = World::fresh(&MAKER);
    put_role(&world, json!({"theirs": true}), Tags::new(), false);
    let report = reconcile_home(&world).await;
    assert!(role_changes(&world).is_empty());
    assert_eq!(vpcs(&report, [1]), [VpcResult::Enrolled]);
    assert_eq!(report.decisions[0].outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn what_differs_in_a_role_of_ours_is_put_right() {
    for (trust_differs, has_policy, changes) in [
        (true, true, vec!["iam:UpdateAssumeRolePolicy"]),
        (false, false, vec!["iam:PutRolePolicy"]),
        (true, false, vec!["iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy"]),
    ] {
        let world = World::fresh(&MAKER);
        let found = if trust_differs { json!({"edited": true}) } else { trust(&world) };
        put_role(&world, found, world.own_tags(), has_policy);
        reconcile(&world).await;
        assert_eq!(role_changes(&world), changes);
    }
}

#[tokio::test]
async fn an_edited_inline_policy_is_put_right() {
    let world = World::fresh(&MAKER);
    put_role(&world, trust(&world), world.own_tags(), true);
    for document in world.roles.policies.lock().unwrap().values_mut() {
        *document = json!({"edited": true});
    }
    reconcile(&world).await;
    assert_eq!(role_changes(&world), ["iam:PutRolePolicy"]);
}

#[tokio::test]
async fn while_the_log_group_is_renamed_the_role_may_write_to_both() {
    let world = World::fresh(&[MAKER[0], ("log_group_name", "new-group")]);
    put_role(&world, trust(&world), world.own_tags(), true);
    let old = permissions(world.settings.partition(), id(1), &"old-group".parse().unwrap());
    world.roles.policies.lock().unwrap().values_mut().for_each(|document| *document = old.clone());
    reconcile(&world).await;
    assert_eq!(role_changes(&world), ["iam:PutRolePolicy"]);
    let document = world.roles.policies.lock().unwrap().values().next().unwrap().to_string();
    assert!(document.contains("log-group:new-group:*") && document.contains("log-group:old-group:*"), "{document}");
    world.ec2.flow_logs.lock().unwrap().clear();
    reconcile(&world).await;
    assert_eq!(role_changes(&world).len(), 1, "that is what is wanted");
}

#[tokio::test]
async fn a_role_made_by_somebody_in_between_is_looked_at() {
    let world = World::fresh(&MAKER);
    let (roles, key) = (Arc::clone(&world.roles), (id(1), world.settings.delivery_role_name.clone()));
    world.journal.meanwhile("iam:CreateRole", move || {
        let theirs = Role { trust: json!({}), tags: Tags::new() };
        roles.roles.lock().unwrap().insert(key.clone(), theirs);
    });
    let report = reconcile_home(&world).await;
    assert_eq!(role_changes(&world), ["iam:CreateRole"]);
    assert_eq!((world.journal.count("iam:GetRole"), report.errors.len()), (2, 0));
}

#[tokio::test]
async fn a_role_that_cannot_be_made_fails_every_region_after_one_try() {
    let world = World::fresh(&MAKER);
    world.journal.fail("iam:CreateRole", 100, "AccessDenied");
    let report = reconcile(&world).await;
    assert_eq!(world.journal.changes(), ["iam:CreateRole"]);
    assert_eq!(world.journal.count("iam:GetRole"), 1);
    assert!(report.account_regions.iter().all(|it| codes(it) == [Code::AccessDenied]));
    assert_eq!(report.account_regions.len(), 2);
}
