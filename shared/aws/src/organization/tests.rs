use aws_config::retry::RetryConfig;
use serde_json::{Value, json};

use enroller_core::error::Code;

use super::*;
use crate::connection::Connection;
use crate::limits::RateLimits;
use crate::testing::{FakeAws, MEMBER, json_error, settings};

fn ids(parents: &[ParentId]) -> Vec<&str> {
    parents.iter().map(ParentId::as_str).collect()
}

fn listing(pages: Vec<Value>) -> FakeAws {
    FakeAws::answering(move |request| {
        let page = request.member("NextToken").as_str().map_or(0, |token| token.parse::<usize>().unwrap());
        let mut answer = json!({ "Accounts": pages[page] });
        if page + 1 < pages.len() {
            answer["NextToken"] = json!((page + 1).to_string());
        }
        (200, answer.to_string())
    })
}

fn account(id: &str, state: &str) -> Value {
    json!({ "Id": id, "Name": "n", "State": state, "Paths": [format!("o-exampleorg1/r-abcd/ou-abcd-11111111/{id}/")] })
}

#[tokio::test]
async fn empty_pages_do_not_end_the_listing() {
    let pages = vec![
        json!([account(MEMBER, "ACTIVE")]),
        json!([]),
        json!([account("777788889999", "CLOSED"), account("000000000001", "SOMETHING_NEW")]),
    ];
    let fake = listing(pages);
    let accounts = fake.ports().organization.accounts().await.unwrap();
    let states: Vec<AccountState> = accounts.iter().map(|account| account.state).collect();
    assert_eq!(states, [AccountState::Active, AccountState::Closed, AccountState::Unknown]);
    assert_eq!(accounts[2].id.to_string(), "000000000001");
    assert_eq!(ids(&accounts[0].parents), ["r-abcd", "ou-abcd-11111111"]);
    let asked = fake.asked("ListAccounts");
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| request.member("MaxResults") == 20 && request.region == "us-east-1"));
    assert!(fake.asked("ListParents").is_empty());
}

#[tokio::test]
async fn a_throttled_page_is_tried_longer_than_other_calls() {
    let fake = FakeAws::answering(|_| json_error("TooManyRequestsException", "slow down"));
    let retries = RetryConfig::standard().with_max_attempts(4);
    let config = fake.config().into_builder().retry_config(retries).build();
    let ports = Connection::from_config(settings(), config, RateLimits::Unlimited).ports();
    assert_eq!(ports.organization.accounts().await.unwrap_err().code, Code::Throttled);
    assert_eq!(fake.asked("ListAccounts").len(), 8);
    ports.organization.account(MEMBER.parse().unwrap()).await.unwrap_err();
    assert_eq!(fake.asked("DescribeAccount").len(), 4);
}

#[tokio::test]
async fn part_of_a_list_is_an_error() {
    let fake = listing(vec![json!([account(MEMBER, "ACTIVE"), account("12", "ACTIVE")])]);
    let error = fake.ports().organization.accounts().await.unwrap_err();
    assert_eq!(error.code, Code::Unparsable);
    assert!(error.message.contains("12"));
}

#[tokio::test]
async fn accounts_of_another_organization_are_an_error_and_no_evidence() {
    let by_path = json!({ "Id": MEMBER, "State": "ACTIVE", "Paths": [format!("o-zzzzzzzzzz/r-abcd/{MEMBER}/")] });
    let arn = format!("arn:aws:organizations::111122223333:account/o-zzzzzzzzzz/{MEMBER}");
    let by_arn = json!({ "Id": MEMBER, "State": "ACTIVE", "Arn": arn });
    for theirs in [by_path, by_arn] {
        let described = json!({ "Account": theirs }).to_string();
        let listed = json!({ "Accounts": [theirs] }).to_string();
        let fake = FakeAws::answering(move |request| match request.operation.as_str() {
            "ListAccounts" => (200, listed.clone()),
            _ => (200, described.clone()),
        });
        let organization = fake.ports().organization;
        for error in [
            organization.accounts().await.unwrap_err(),
            organization.account(MEMBER.parse().unwrap()).await.unwrap_err(),
        ] {
            assert_eq!(error.code, Code::Unparsable);
            assert!(error.message.contains("o-zzzzzzzzzz") && error.message.contains("organization_id"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_account_whose_parents_cannot_be_read_stops_nobody() {
    for (code, everybody) in
        [("ChildNotFoundException", false), ("AccessDeniedException", false), ("AccessDeniedException", true)]
    {
        let fake = FakeAws::answering(move |request| {
            match request.operation.as_str() {
            "ListAccounts" => (200, json!({ "Accounts": [{ "Id": MEMBER, "State": "ACTIVE" }, { "Id": "777788889999", "State": "ACTIVE" }, { "Id": "777788880000", "State": "ACTIVE" }] }).to_string()),
            _ if everybody || request.member("ChildId") == MEMBER => json_error(code, "no"),
            _ => (200, json!({ "Parents": [{ "Id": "r-abcd", "Type": "ROOT" }] }).to_string()),
        }
        });
        let listed = fake.ports().organization.accounts().await;
        if everybody {
            assert_eq!(listed.unwrap_err().code, Code::AccessDenied);
        } else {
            let states: Vec<_> = listed.unwrap().iter().map(|it| (it.state, it.parents.len())).collect();
            assert_eq!(states, [(AccountState::Unknown, 0), (AccountState::Active, 1), (AccountState::Active, 1)]);
        }
    }
}

#[tokio::test]
async fn without_paths_the_parents_are_asked_for_and_each_unit_only_once() {
    let fake = FakeAws::answering(|request| {
        let parent = |id: &str, kind: &str| json!({ "Parents": [{ "Id": id, "Type": kind }] });
        let answer = match request.operation.as_str() {
            "ListAccounts" => {
                let old = |id: &str, status: &str| json!({ "Id": id, "Status": status });
                json!({ "Accounts": [old(MEMBER, "ACTIVE"), old("777788889999", "SUSPENDED")] })
            }
            _ => match request.member("ChildId").as_str().unwrap() {
                "ou-abcd-11111111" => parent("r-abcd", "ROOT"),
                _ => parent("ou-abcd-11111111", "ORGANIZATIONAL_UNIT"),
            },
        };
        (200, answer.to_string())
    });
    let accounts = fake.ports().organization.accounts().await.unwrap();
    for account in &accounts {
        assert_eq!(ids(&account.parents), ["r-abcd", "ou-abcd-11111111"]);
    }
    assert_eq!(fake.asked("ListParents").len(), 3, "two accounts and their one unit");
    let states: Vec<AccountState> = accounts.iter().map(|account| account.state).collect();
    assert_eq!(states, [AccountState::Active, AccountState::Suspended], "the retired field revokes nothing");
}

#[tokio::test]
async fn an_account_that_is_not_a_member_is_none_and_other_errors_are_errors() {
    for (code, expected) in [("AccountNotFoundException", Ok(None)), ("AccessDeniedException", Err(Code::AccessDenied))]
    {
        let fake = FakeAws::answering(move |_| json_error(code, "no"));
        let found = fake.ports().organization.account(MEMBER.parse().unwrap()).await;
        assert_eq!(found.map_err(|error| error.code), expected);
    }
}

#[tokio::test]
async fn one_account_is_read_like_a_listed_one() {
    let fake = FakeAws::answering(|_| (200, json!({ "Account": account(MEMBER, "PENDING_CLOSURE") }).to_string()));
    let found = fake.ports().organization.account(MEMBER.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.state, ids(&found.parents).len()), (AccountState::PendingClosure, 2));
}
