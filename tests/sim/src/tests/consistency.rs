//! Consistency as AWS has it: reads that lag behind writes, policies that need time, slow listings.

use super::*;

const LAG_MS: u64 = 5_000;

fn lagging(sim: &Sim) -> Caller {
    sim.with(|world| world.settings.read_lag_ms = LAG_MS);
    Caller::of(sim, &others(sim)[0], REGION)
}

fn new_role(name: &str) -> Value {
    let trust = crate::fixtures::trust("logs.amazonaws.com", json!({}));
    json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()})
}

#[test]
fn a_log_group_that_was_just_made_exists_for_writes_and_not_for_reads() {
    let sim = small();
    let caller = lagging(&sim);
    let name = json!({"logGroupName": "g"});
    caller.call(Service::Logs, "CreateLogGroup", name.clone()).unwrap();
    let listed = || caller.json(Service::Logs, "DescribeLogGroups", json!({}))["logGroups"].as_array().unwrap().len();
    assert_eq!(listed(), 0);
    assert_eq!(caller.code(Service::Logs, "DescribeSubscriptionFilters", name.clone()), "ResourceNotFoundException");
    assert_eq!(caller.code(Service::Logs, "CreateLogGroup", name.clone()), "ResourceAlreadyExistsException");
    sim.advance(LAG_MS - 1);
    assert_eq!(listed(), 0);
    sim.advance(1);
    assert_eq!(listed(), 1);
    caller.call(Service::Logs, "DeleteLogGroup", name).unwrap();
    assert_eq!(listed(), 1, "and a deleted one is still shown");
}

#[test]
fn flow_logs_and_roles_lag_and_another_region_does_not() {
    let sim = small();
    let caller = lagging(&sim);
    let vpc = first_vpc(&sim, &caller_account(&sim));
    let input = json!({
        "ResourceType": "VPC", "ResourceId.1": vpc, "TrafficType": "ALL",
        "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket",
    });
    caller.call(Service::Ec2, "CreateFlowLogs", input).unwrap();
    let shown = || texts(&caller.call(Service::Ec2, "DescribeFlowLogs", json!({})).unwrap(), "flowLogId").len();
    assert_eq!(shown(), 0);
    let global = Caller::of(&sim, &caller_account(&sim), GLOBAL);
    let role = new_role("R");
    global.call(Service::Iam, "CreateRole", role.clone()).unwrap();
    assert_eq!(global.code(Service::Iam, "GetRole", json!({"RoleName": "R"})), "NoSuchEntity");
    assert_eq!(global.code(Service::Iam, "CreateRole", role), "EntityAlreadyExists");
    sim.advance(LAG_MS);
    assert_eq!(shown(), 1);
    assert!(global.call(Service::Iam, "GetRole", json!({"RoleName": "R"})).is_ok());
}

fn caller_account(sim: &Sim) -> String {
    others(sim)[0].clone()
}

#[test]
fn writes_to_what_is_not_visible_yet_are_refused_where_that_is_set() {
    let sim = small();
    lagging(&sim);
    let global = Caller::of(&sim, &caller_account(&sim), GLOBAL);
    sim.set_rule("writes-lag=true").unwrap();
    global.call(Service::Iam, "CreateRole", new_role("R")).unwrap();
    global.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": "g"})).unwrap();
    let put = || {
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}"#;
        let input = json!({"RoleName": "R", "PolicyName": "p", "PolicyDocument": policy});
        global.call(Service::Iam, "PutRolePolicy", input).map_err(|refusal| refusal.code)
    };
    assert_eq!(put(), Err("NoSuchEntity".to_owned()));
    let retention = json!({"logGroupName": "g", "retentionInDays": 30});
    assert_eq!(global.code(Service::Logs, "PutRetentionPolicy", retention), "ResourceNotFoundException");
    sim.advance(LAG_MS);
    assert!(put().is_ok());
}

#[test]
fn a_drawn_lag_is_sometimes_none_and_repeats_with_the_seed() {
    let seen = || {
        let sim = small();
        let caller = lagging(&sim);
        sim.set_rule("read-lag-drawn=true").unwrap();
        caller.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": "g"})).unwrap();
        sim.advance(LAG_MS / 2);
        let listed = |_| caller.json(Service::Logs, "DescribeLogGroups", json!({}))["logGroups"] == json!([]);
        (0..20).map(listed).collect::<Vec<bool>>()
    };
    assert!(seen().contains(&true) && seen().contains(&false));
    assert_eq!(seen(), seen());
}

#[test]
fn describe_account_lags_behind_a_departure() {
    let sim = small();
    lagging(&sim);
    let account = caller_account(&sim);
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    sim.advance(LAG_MS);
    sim.with(|world| world.remove(&account)).unwrap();
    let describe = || central.code(Service::Organizations, "DescribeAccount", json!({"AccountId": account}));
    assert!(describe().starts_with("answered"));
    sim.advance(LAG_MS);
    assert_eq!(describe(), "AccountNotFoundException");
}

#[test]
fn a_role_can_be_assumed_before_its_policies_work() {
    let sim = small();
    let account = caller_account(&sim);
    sim.with(|world| world.settings.policy_propagation_ms = 20_000);
    let global = Caller::of(&sim, &account, GLOBAL);
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}]});
    let create = json!({"RoleName": "R", "AssumeRolePolicyDocument": trust.to_string()});
    global.call(Service::Iam, "CreateRole", create).unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}"#;
    let put = json!({"RoleName": "R", "PolicyName": "p", "PolicyDocument": policy});
    global.call(Service::Iam, "PutRolePolicy", put).unwrap();
    let credentials = sim.role_session(&account, "R", "me").unwrap();
    let session = Caller { sim: sim.clone(), credentials, region: REGION.to_owned() };
    assert_eq!(session.code(Service::Ec2, "DescribeVpcs", json!({})), "UnauthorizedOperation");
    sim.advance(20_000);
    assert!(session.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
}

#[test]
fn every_page_of_a_listing_takes_its_time() {
    let sim = SimBuilder { accounts: 45, vpcs: 0, ..SimBuilder::default() }.build();
    sim.set_rule("listing-page-milliseconds=700").unwrap();
    let (before, central) = (sim.now_ms(), Caller::of(&sim, &sim.central(), GLOBAL));
    let mut input = json!({});
    loop {
        let page = central.json(Service::Organizations, "ListAccounts", input);
        let Some(token) = page["NextToken"].as_str() else { break };
        input = json!({"NextToken": token});
    }
    assert_eq!(sim.now_ms() - before, 3 * 700);
}

/// Three tasks with three calls each, at once; the accounts in the order in which their calls were served.
async fn order_of_calls(seed: u64, interleave: u64) -> Vec<String> {
    let sim = SimBuilder { accounts: 5, seed, ..SimBuilder::default() }.build();
    sim.with(|world| world.settings.interleave = interleave);
    let mut tasks = tokio::task::JoinSet::new();
    for account in others(&sim) {
        let sim = sim.clone();
        tasks.spawn(async move {
            for _ in 0..3 {
                let caller = Caller::of(&sim, &account, REGION);
                let (parts, body) =
                    crate::raw_client::request(&caller.credentials, REGION, Service::Ec2, "DescribeVpcs", &json!({}))
                        .unwrap()
                        .into_parts();
                sim.answer(&parts, &body).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let names = sim.calls().into_iter().map(|call| call.account);
    names.collect()
}

#[tokio::test]
async fn calls_that_are_made_at_once_interleave_in_an_order_that_the_seed_repeats() {
    let in_turn = order_of_calls(1, 0).await;
    let mut runs = Vec::new();
    for (account, next) in in_turn.iter().zip(in_turn.iter().skip(1)) {
        if account != next {
            runs.push(account);
        }
    }
    assert_eq!(runs.len(), 2, "without it each task makes its calls in one go");
    let interleaved = order_of_calls(1, 5).await;
    assert_eq!(interleaved, order_of_calls(1, 5).await);
    assert_ne!(interleaved, in_turn);
    let mut seeds = Vec::new();
    for seed in 2..12 {
        let order = order_of_calls(seed, 5).await;
        // Accounts by their number in the order of first calls, since ids differ from seed to seed.
        let mut seen: Vec<String> = Vec::new();
        let numbered: Vec<usize> = order
            .into_iter()
            .map(|account| {
                seen.iter().position(|known| *known == account).unwrap_or_else(|| {
                    seen.push(account);
                    seen.len() - 1
                })
            })
            .collect();
        seeds.push(numbered);
    }
    seeds.sort();
    seeds.dedup();
    assert!(seeds.len() > 5, "{seeds:?}");
}
