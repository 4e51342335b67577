use serde_json::{Value, json};

use super::*;
use crate::fixtures::*;
use crate::sqs::QueueSettings;
use crate::world::START_MS;

const HOME: &str = "us-east-1";

fn sim() -> Sim {
    let mut world = organization();
    for account in world.accounts.keys().cloned().collect::<Vec<_>>() {
        world.put_role(&account, "events", trust("events.amazonaws.com", json!({})), allow(&["events:PutEvents"], "*"));
    }
    Sim::new(world)
}

fn pattern() -> Value {
    json!({"source": ["aws.ec2"], "detail": {"eventName": ["CreateVpc"]}})
}

fn event(account: &str, region: &str) -> Value {
    json!({"id": "1", "source": "aws.ec2", "account": account, "region": region, "detail": {"eventName": "CreateVpc"}})
}

fn rule(targets: Vec<Target>) -> RuleSettings {
    RuleSettings { name: "rule".to_owned(), pattern: pattern(), targets, delay_ms: 0 }
}

fn to_bus(sender: &str, bus: &BusId) -> Vec<Target> {
    vec![Target::Bus { arn: bus.to_string(), role_arn: Some(format!("arn:aws:iam::{sender}:role/events")) }]
}

fn to_queue(region: &str) -> Vec<Target> {
    vec![Target::Queue { arn: format!("arn:aws:sqs:{region}:{CENTRAL}:enrollments"), message_group_id: None }]
}

fn admit_organization(sim: &Sim, bus: &BusId) {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Resource": bus.to_string(),
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}},
    }]});
    sim.with(|world| put_bus_policy(world, bus, policy)).unwrap();
}

/// Member bus to the central bus of the same Region, to the central bus of the home Region, to a queue.
fn installed() -> (Sim, String) {
    let sim = sim();
    let url = sim.create_queue(CENTRAL, HOME, "enrollments", QueueSettings::default()).unwrap();
    let (member, regional, home) =
        (BusId::default_bus(MEMBER, REGION), BusId::default_bus(CENTRAL, REGION), BusId::default_bus(CENTRAL, HOME));
    admit_organization(&sim, &regional);
    sim.put_rule(&member, &rule(to_bus(MEMBER, &regional))).unwrap();
    sim.put_rule(&regional, &rule(to_bus(CENTRAL, &home))).unwrap();
    sim.put_rule(&home, &rule(to_queue(HOME))).unwrap();
    (sim, url)
}

fn queued(sim: &Sim, url: &str) -> usize {
    sim.queue_depth(url).unwrap().total()
}

#[test]
fn an_event_travels_over_two_accounts_and_two_regions_to_the_queue_unchanged() {
    let (sim, url) = installed();
    sim.emit(event(MEMBER, REGION)).unwrap();
    let received = sim.receive(&url, 10).unwrap();
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(body, event(MEMBER, REGION));
    let counts = sim.event_counts();
    assert_eq!((counts.published, counts.forwarded, counts.queued), (1, 2, 1));
}

#[test]
fn an_event_that_no_rule_matches_goes_nowhere() {
    let (sim, url) = installed();
    let mut other = event(MEMBER, REGION);
    other["detail"]["eventName"] = json!("DeleteVpc");
    sim.emit(other).unwrap();
    assert_eq!((queued(&sim, &url), sim.event_counts().forwarded), (0, 0));
}

#[test]
fn a_bus_refuses_an_account_outside_the_organization() {
    let (sim, url) = installed();
    let regional = BusId::default_bus(CENTRAL, REGION);
    sim.put_rule(&BusId::default_bus(STRANGER, REGION), &rule(to_bus(STRANGER, &regional))).unwrap();
    sim.emit(event(STRANGER, REGION)).unwrap();
    assert_eq!((queued(&sim, &url), sim.event_counts().no_permission), (0, 1));
}

#[test]
fn a_third_account_and_a_third_region_are_refused_and_counted() {
    let (sim, _) = installed();
    let third = BusId::default_bus(MANAGEMENT, REGION);
    admit_organization(&sim, &third);
    sim.put_rule(&BusId::default_bus(CENTRAL, REGION), &rule(to_bus(CENTRAL, &third))).unwrap();
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(sim.event_counts().third_account_hops, 1);

    let (sim, _) = installed();
    let third = BusId::default_bus(CENTRAL, "ap-south-1");
    sim.put_rule(&BusId::default_bus(CENTRAL, HOME), &rule(to_bus(CENTRAL, &third))).unwrap();
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(sim.event_counts().third_region_hops, 1);
}

#[test]
fn an_event_that_comes_back_is_stopped_and_counted() {
    let (sim, _) = installed();
    let (member, regional) = (BusId::default_bus(MEMBER, REGION), BusId::default_bus(CENTRAL, REGION));
    admit_organization(&sim, &member);
    sim.put_rule(&regional, &rule(to_bus(CENTRAL, &member))).unwrap();
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(sim.event_counts().loops, 1);
}

#[test]
fn a_rule_matches_only_after_its_delay() {
    let (sim, url) = installed();
    let late = RuleSettings { delay_ms: 60_000, ..rule(to_queue(HOME)) };
    sim.put_rule(&BusId::default_bus(CENTRAL, HOME), &late).unwrap();
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(queued(&sim, &url), 0);
    sim.advance(60_000);
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(queued(&sim, &url), 1);
}

#[test]
fn without_a_trail_no_call_makes_an_event() {
    let (sim, url) = installed();
    let create = |sim: &Sim| sim.with(|world| ec2(world, MEMBER, "CreateVpc", "CidrBlock=10.0.0.0/16")).unwrap();
    sim.with(|world| world.events.set_trail(MEMBER, REGION, false));
    create(&sim);
    assert_eq!((queued(&sim, &url), sim.event_counts().without_trail), (0, 1));
    sim.with(|world| world.events.set_trail(MEMBER, REGION, true));
    create(&sim);
    assert_eq!(queued(&sim, &url), 1);
}

#[test]
fn delayed_events_come_when_the_clock_reaches_them_and_never_before() {
    let (sim, url) = installed();
    sim.set_event_delivery(DeliverySettings { max_delay_ms: 10_000, ..DeliverySettings::default() }, 7);
    for _ in 0..20 {
        sim.emit(event(MEMBER, REGION)).unwrap();
    }
    assert_eq!(queued(&sim, &url), 0);
    while let Some(due_ms) = sim.next_event_due_ms() {
        sim.advance(due_ms.saturating_sub(sim.now_ms()));
    }
    assert_eq!(queued(&sim, &url), 20);
    assert!(sim.now_ms() <= START_MS + 40_000, "four legs of at most ten seconds");
}

#[test]
fn reordering_is_a_switch_and_a_seed_repeats() {
    let order = |reorder: bool, seed: u64| {
        let (sim, url) = installed();
        sim.set_event_delivery(DeliverySettings { max_delay_ms: 10_000, reorder, ..DeliverySettings::default() }, seed);
        for number in 0..20 {
            let mut event = event(MEMBER, REGION);
            event["id"] = json!(number);
            sim.emit(event).unwrap();
        }
        sim.advance(60_000);
        let id = |body: &String| serde_json::from_str::<Value>(body).unwrap()["id"].as_u64().unwrap();
        sim.bodies(&url).unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert!(order(false, 3).is_sorted());
    assert!(!order(true, 3).is_sorted());
    assert_eq!(order(true, 3), order(true, 3));
    assert_ne!(order(true, 3), order(true, 4));
}

#[test]
fn duplicates_and_drops_are_made_and_counted() {
    let (sim, url) = installed();
    sim.set_event_delivery(DeliverySettings { duplicate_probability: 1.0, ..DeliverySettings::default() }, 1);
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(queued(&sim, &url), 8, "each of three legs doubles");
    sim.set_event_delivery(DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() }, 1);
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!((queued(&sim, &url), sim.event_counts().dropped), (8, 1));
}

#[test]
fn a_deleted_rule_matches_no_more() {
    let (sim, url) = installed();
    let home = BusId::default_bus(CENTRAL, HOME);
    assert!(sim.with(|world| delete_rule(world, &home, "rule")));
    assert!(!sim.with(|world| delete_rule(world, &home, "rule")));
    sim.emit(event(MEMBER, REGION)).unwrap();
    assert_eq!(queued(&sim, &url), 0);
}

#[test]
fn rules_and_targets_that_eventbridge_refuses_are_refused() {
    let (sim, _) = installed();
    let fifo = QueueSettings { fifo: true, ..QueueSettings::default() };
    sim.create_queue(CENTRAL, HOME, "plain.fifo", fifo.clone()).unwrap();
    let hashed = QueueSettings { content_based_deduplication: true, ..fifo };
    sim.create_queue(CENTRAL, HOME, "grants.fifo", hashed).unwrap();
    let home = BusId::default_bus(CENTRAL, HOME);
    let queue = |name: &str, group: Option<&str>| Target::Queue {
        arn: format!("arn:aws:sqs:{HOME}:{CENTRAL}:{name}"),
        message_group_id: group.map(str::to_owned),
    };
    let bus =
        |id: &BusId, role_arn: Option<&str>| Target::Bus { arn: id.to_string(), role_arn: role_arn.map(str::to_owned) };
    let role = format!("arn:aws:iam::{CENTRAL}:role/events");
    let regional = BusId::default_bus(CENTRAL, REGION);
    let refused = [
        (bus(&regional, None), "needs a role"),
        (bus(&regional, Some("arn:aws:iam::111122223333:role/events")), "not one of the rule's account"),
        (bus(&home, Some(&role)), "the bus of the rule"),
        (bus(&BusId::default_bus(MEMBER, REGION), Some(&role)), "in one hop"),
        (Target::Bus { arn: "arn:aws:sns:x:y:z".to_owned(), role_arn: Some(role.clone()) }, "no ARN of an event bus"),
        (queue("missing", None), "does not exist"),
        (queue("enrollments", Some("g")), "takes no message group"),
        (queue("grants.fifo", None), "needs a message group"),
        (queue("plain.fifo", Some("g")), "content-based deduplication"),
        (to_queue(REGION).remove(0), "not of the rule's account and Region"),
    ];
    for (target, expected) in refused {
        let error = sim.put_rule(&home, &rule(vec![target])).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(sim.put_rule(&home, &rule(vec![queue("grants.fifo", Some("g"))])), Ok(()));
    let six = sim.put_rule(&home, &rule(vec![queue("enrollments", None); 6]));
    assert!(matches!(six, Err(RuleError::TooManyTargets { targets: 6, .. })));
    let long = RuleSettings { pattern: json!({"source": ["x".repeat(2_100)]}), ..rule(Vec::new()) };
    assert!(matches!(sim.put_rule(&home, &long), Err(RuleError::PatternTooLong { .. })));
    let wrong = RuleSettings { pattern: json!({"source": "aws.ec2"}), ..rule(Vec::new()) };
    assert!(matches!(sim.put_rule(&home, &wrong), Err(RuleError::Pattern { .. })));
}

#[test]
fn a_custom_bus_has_to_be_made_first_and_a_fifo_target_takes_a_duplicate_once() {
    let sim = sim();
    let custom = BusId { name: "enroller".to_owned(), ..BusId::default_bus(CENTRAL, HOME) };
    assert_eq!(sim.put_rule(&custom, &rule(Vec::new())), Err(RuleError::NoSuchBus(custom.clone())));
    sim.with(|world| create_bus(world, &custom));
    let settings = QueueSettings { fifo: true, content_based_deduplication: true, ..QueueSettings::default() };
    let url = sim.create_queue(CENTRAL, HOME, "grants.fifo", settings).unwrap();
    let target = Target::Queue {
        arn: format!("arn:aws:sqs:{HOME}:{CENTRAL}:grants.fifo"),
        message_group_id: Some("grants".to_owned()),
    };
    sim.put_rule(&custom, &rule(vec![target])).unwrap();
    sim.put_rule(&BusId::default_bus(CENTRAL, HOME), &rule(to_bus(CENTRAL, &custom))).unwrap();
    sim.set_event_delivery(DeliverySettings { duplicate_probability: 1.0, ..DeliverySettings::default() }, 1);
    sim.emit(event(CENTRAL, HOME)).unwrap();
    assert_eq!((sim.event_counts().queued, queued(&sim, &url)), (4, 1));
}

#[test]
fn an_event_without_an_address_is_refused() {
    assert_eq!(sim().emit(json!({"account": MEMBER})), Err(RuleError::NoAddress("region")));
}
