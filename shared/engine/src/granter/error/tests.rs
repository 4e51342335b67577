use super::*;

#[test]
fn a_failed_call_is_told_with_the_place_it_was_made_in() {
    let (account, region): (AccountId, Region) = ("999999999999".parse().unwrap(), "eu-west-1".parse().unwrap());
    let error = AwsError::answered("logs:PutDestinationPolicy", "ThrottlingException", "slow down");
    let entry = GranterError::from(error.at(account, &region)).entry("sync-grants", "destinations");
    assert_eq!((entry.account, entry.region), (Some(account), Some(region)));
    assert_eq!((entry.outcome, entry.resource.as_str()), (Outcome::RetryLater, "destinations"));
}
