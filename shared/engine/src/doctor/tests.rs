use super::*;

#[test]
fn a_sample_is_spread_over_all_accounts_without_naming_one_twice() {
    let accounts: Vec<AccountId> = (0..10_u32).map(|number| format!("{number:012}").parse().unwrap()).collect();
    for (sample, expected) in [
        (Sample::Accounts(0), vec![]),
        (Sample::Accounts(1), vec![0]),
        (Sample::Accounts(3), vec![0, 3, 6]),
        (Sample::Accounts(10), (0..10).collect()),
        (Sample::Accounts(99), (0..10).collect()),
        (Sample::All, (0..10).collect::<Vec<usize>>()),
    ] {
        let expected: Vec<AccountId> = expected.into_iter().map(|index| accounts[index]).collect();
        assert_eq!(spread(&accounts, sample), expected, "{sample:?}");
    }
    assert!(spread(&[], Sample::All).is_empty());
}
