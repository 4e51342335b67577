//! The fault matrix: every fault at every call of every scenario leads to the same end state.

#![cfg(test)]

use enroller_tests::matrix::assert_recovers;
use enroller_tests::scenarios::scenario;

macro_rules! matrix {
    ($($test:ident: $scenario:literal;)*) => {$(
        #[tokio::test]
        #[ignore = "the matrix takes minutes. CI runs it: cargo test --workspace --test faults -- --ignored"]
        async fn $test() {
            assert_recovers(scenario($scenario)).await;
        }
    )*};
}

matrix! {
    a_fresh_account_is_enrolled_whatever_fails: "fresh account";
    a_fresh_account_gets_its_role_whatever_fails: "fresh account, role made by the enroller";
    an_account_that_is_not_ready_is_enrolled_later_whatever_fails: "fresh account that is not ready yet";
    a_new_vpc_is_enrolled_whatever_fails: "new VPC";
    a_deleted_flow_log_is_recreated_whatever_fails: "flow log deleted";
    a_deleted_filter_is_recreated_whatever_fails: "filter deleted";
    a_deleted_log_group_is_recreated_whatever_fails: "log group deleted";
    changed_settings_take_effect_whatever_fails: "settings change";
    changed_settings_take_effect_without_twins_whatever_fails: "settings change where AWS refuses twins";
    an_account_that_leaves_loses_its_grants_whatever_fails: "account leaves";
    a_deleted_delivery_role_is_recreated_whatever_fails: "delivery role deleted";
    a_changed_retention_is_restored_whatever_fails: "retention changed";
    an_opted_out_vpc_is_left_alone_whatever_fails: "new VPCs, one of them opted out";
    a_fresh_account_is_enrolled_in_organization_mode_whatever_fails: "fresh account in organization mode";
    another_shard_is_opened_whatever_fails: "fresh account that needs another shard";
    an_account_no_longer_excluded_is_enrolled_whatever_fails: "account no longer excluded";
    a_reinstated_account_is_enrolled_whatever_fails: "suspended account reinstated";
    a_backfill_enrolls_every_account_whatever_fails: "backfill of several accounts";
    a_renamed_log_group_loses_no_record_whatever_fails: "log group renamed";
    a_member_role_made_anew_works_whatever_fails: "member role made anew";
    two_enrollers_at_once_do_no_harm_whatever_fails: "two enrollers at once";
}
