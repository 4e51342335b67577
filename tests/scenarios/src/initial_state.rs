//! The initial state of a random schedule: organization, settings and undocumented behaviour of AWS, all drawn from the
//! seed.

use enroller_core::settings::GrantMode;
use enroller_lab::{Lab, LabError, LabOptions};
use enroller_sim::{Sim, SimBuilder, TwinRule};
use serde_json::json;

use crate::chaos::FOREIGN_ACCOUNT;

/// Longest lag of `ListAccounts`, in milliseconds. It stays below the 15 minutes for which the enroller remembers that
/// an account is gone. Its own listing may be another minute old.
pub const MAX_LISTING_LAG_MS: u64 = 600_000;

/// Settings of a schedule that differ from the defaults. A later change of one keeps the others.
pub type ChosenSettings = Vec<(&'static str, String)>;

/// Draws an installation with all member stacks deployed, and its settings.
///
/// # Errors
///
/// The simulated installation cannot be built.
pub fn draw(seed: u64, rng: &mut fastrand::Rng) -> Result<(Lab, ChosenSettings), LabError> {
    let regions = ["eu-west-1", "us-east-1"][..rng.usize(1..=2)].iter().map(|it| (*it).to_owned()).collect();
    let (accounts, vpcs) = (rng.usize(4..=6), rng.usize(0..=1));
    let organization = SimBuilder { accounts, regions, vpcs, seed, ..SimBuilder::default() };
    // The same seed gives the same ids, so this organization stands for the one that is built below.
    let settings = choose(&organization.build(), rng);
    let mut lab = Lab::new(&LabOptions { organization, settings: settings.clone() })?;
    lab.set_attempts(if rng.u32(0..4) == 0 { 4 } else { 1 }).unwrap();
    let (lags, twins) = (rng.bool(), rng.u32(0..3) > 0);
    let lag_ms = if lags { rng.u64(0..=MAX_LISTING_LAG_MS) } else { 0 };
    lab.sim.with(|world| {
        world.settings.listing_lag_ms = lag_ms;
        world.settings.twin_rule = if twins { TwinRule::SameConfiguration } else { TwinRule::SameDestination };
    });
    draw_weather(seed, rng, &mut lab)?;
    // In organization mode there is only one statement, which cannot move to another destination.
    if rng.bool() && lab.settings.grant_mode == GrantMode::AccountList {
        fill_first_shards(&lab, rng.usize(1..=5));
    }
    lab.deploy_members()?;
    Ok((lab, settings))
}

/// Names what a third of the seeds each may have besides: `reads` that lag behind writes, AWS's `delays`, and invocations
/// that `overlap`. Without it no seed has any of them, because a few of those seeds fail (docs/testing.md).
const WEATHER: &str = "ENROLLER_WEATHER";

/// In a share of the seeds AWS is only eventually consistent, has its own delays, and invocations overlap.
fn draw_weather(seed: u64, rng: &mut fastrand::Rng, lab: &mut Lab) -> Result<(), LabError> {
    let wanted = std::env::var(WEATHER).unwrap_or_default();
    let mut third = |name: &str| rng.u32(0..3) == 0 && wanted.split(',').any(|it| it == name);
    let (inconsistent, slow, overlapping) = (third("reads"), third("delays"), third("overlap"));
    lab.sim.with(|world| {
        let mut settings = world.settings.clone();
        if inconsistent {
            let listing_lag_ms = settings.listing_lag_ms;
            settings = settings.with_drawn_consistency(seed);
            settings.listing_lag_ms = settings.listing_lag_ms.max(listing_lag_ms);
            // A flow log records minutes after it is made, and by then its role and the role's policies work.
            let propagation_ms = settings.role_propagation_ms.max(settings.policy_propagation_ms);
            settings.recording_delay_ms = settings.recording_delay_ms.max(propagation_ms);
        }
        if slow {
            settings = settings.with_delays_of_aws();
        }
        if overlapping {
            settings.interleave = 9;
        }
        world.settings = settings;
    });
    if overlapping { lab.overlap() } else { Ok(()) }
}

fn choose(sim: &Sim, rng: &mut fastrand::Rng) -> ChosenSettings {
    let maker = if rng.bool() { "enroller" } else { "member-stack" };
    let mode = if rng.u32(0..5) == 0 { "organization" } else { "account-list" };
    let mut chosen = vec![
        ("delivery_role_maker", maker.to_owned()),
        ("grant_mode", mode.to_owned()),
        ("revocation_limit_percent", rng.choice(["100", "100", "10", "0"]).unwrap_or("100").to_owned()),
    ];
    if rng.u32(0..3) == 0 {
        let units: Vec<String> = sim.with(|world| world.organization.units().map(|(id, _)| id.to_owned()).collect());
        let unit = rng.choice(units).unwrap_or_default();
        chosen.push(("excluded_organizational_units", unit));
    }
    if rng.u32(0..4) == 0 {
        chosen.push(("excluded_accounts", rng.choice(sim.members()).unwrap_or_default()));
    }
    chosen
}

/// Fills the policy of each first destination with an unmanaged statement that leaves room for about `room` accounts.
pub fn fill_first_shards(lab: &Lab, room: usize) {
    let central = lab.sim.central();
    let settings = &lab.settings;
    let text = |arn: &Option<enroller_core::arn::Arn>| arn.as_ref().map(ToString::to_string).unwrap_or_default();
    let (target, role) = (text(&settings.destination_target_arn), text(&settings.destination_role_arn));
    for (region, arn) in lab.stacks.destination_arns() {
        let theirs = |resources: &[String]| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "TheirLargeOne", "Effect": "Allow", "Principal": {"AWS": FOREIGN_ACCOUNT},
                "Action": "logs:PutSubscriptionFilter", "Resource": resources}]})
            .to_string()
        };
        // The managed statement takes about 260 bytes, and each account 15 more.
        let most = crate::MAX_POLICY_BYTES - 260 - 15 * room;
        let mut resources = vec![arn.clone()];
        while theirs(&resources).len() + arn.len() + 3 <= most {
            resources.push(arn.clone());
        }
        let made = lab.sim.with(|world| {
            world.put_destination(&central, &region, settings.destination_name.base().as_str(), &target, &role)?;
            world.put_destination_policy(
                &central,
                &region,
                settings.destination_name.base().as_str(),
                &theirs(&resources),
            )
        });
        debug_assert!(made.is_ok(), "{made:?}");
    }
}
