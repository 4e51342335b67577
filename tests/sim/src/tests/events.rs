use serde_json::json;

use super::*;
use crate::account_lifecycle::NewAccount;
use crate::fixtures::{events_on, watch};

#[test]
fn a_call_over_the_wire_makes_the_event_of_what_it_did() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let url = watch(&sim, &account, REGION);
    let ec2 = Caller::of(&sim, &account, REGION);
    let created = ec2.call(Service::Ec2, "CreateVpc", json!({"CidrBlock": "10.9.0.0/16"})).unwrap();
    ec2.call(Service::Ec2, "DescribeVpcs", json!({})).unwrap();
    ec2.call(Service::Ec2, "CreateVpc", json!({"CidrBlock": "10.9.0.0/8"})).unwrap_err();
    let [done, refused] = <[Value; 2]>::try_from(events_on(&sim, &url)).unwrap();
    assert_eq!(done["detail"]["responseElements"]["vpc"]["vpcId"], json!(texts(&created, "vpcId")[0]));
    assert_eq!((&done["account"], &done["detail"]["eventName"]), (&json!(account), &json!("CreateVpc")));
    assert_eq!(refused["detail"]["errorCode"], json!("Client.InvalidVpc.Range"));
}

#[test]
fn a_new_account_shows_in_the_management_account_and_its_default_vpcs_nowhere() {
    let sim = small();
    let url = watch(&sim, &sim.management(), GLOBAL);
    let new = NewAccount { name: "fresh".to_owned(), ..NewAccount::default() };
    let account = sim.with(|world| world.create_account(&new)).unwrap();
    sim.with(|world| world.leave(&account)).unwrap();
    let names: Vec<Value> = events_on(&sim, &url).iter().map(|event| event["detail"]["eventName"].clone()).collect();
    let expected = ["CreateAccount", "CreateAccountResult", "AccountJoinedOrganization", "AccountDepartedOrganization"];
    assert_eq!(names, expected);
}
