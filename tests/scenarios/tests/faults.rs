//! The fault matrix: at every call of every scenario everything that can go wrong does, and the end state is the same.

#![cfg(test)]

use enroller_tests::matrix::assert_recovers;
use enroller_tests::scenarios::scenario;

macro_rules! matrix {
    ($($test:ident: $scenario:literal;)*) => {$(
        #[tokio::test]
        #[ignore = "all of them take minutes; CI runs them: cargo test --workspace --test faults -- --ignored"]
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
    a_deleted_flow_log_is_made_again_whatever_fails: "flow log deleted";
    a_deleted_filter_is_made_again_whatever_fails: "filter deleted";
    a_deleted_log_group_is_made_again_whatever_fails: "log group deleted";
    changed_settings_take_effect_whatever_fails: "settings change";
    changed_settings_take_effect_without_twins_whatever_fails: "settings change where AWS refuses twins";
    an_account_that_leaves_loses_its_grants_whatever_fails: "account leaves";
    a_deleted_delivery_role_is_made_again_whatever_fails: "delivery role deleted";
    a_changed_retention_is_put_back_whatever_fails: "retention changed";
    an_opted_out_vpc_is_left_alone_whatever_fails: "new VPCs, one of them opted out";
    a_fresh_account_is_enrolled_in_organization_mode_whatever_fails: "fresh account in organization mode";
    a_further_shard_is_opened_whatever_fails: "fresh account for which a further shard is opened";
    an_account_excluded_no_longer_is_enrolled_whatever_fails: "account excluded no longer";
    an_account_usable_again_is_enrolled_whatever_fails: "account suspended and usable again";
    a_backfill_enrolls_every_account_whatever_fails: "backfill of several accounts";
}
