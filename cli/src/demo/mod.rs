//! `enroller demo`: shows the real function handlers enrolling an organization on the simulated AWS.

mod script;
mod show;
mod summary;

use std::process::ExitCode;

use anyhow::Context;
use enroller_lab::{Lab, LabOptions};
use enroller_sim::SimBuilder;
use enroller_sim::events::DeliverySettings;

use crate::args::DemoArgs;
use script::Script;
use show::Show;
use summary::Summary;

/// Regions in the order in which `--regions N` takes them.
const REGIONS: [&str; 17] = [
    "eu-west-1",
    "us-east-1",
    "ap-southeast-2",
    "eu-central-1",
    "us-west-2",
    "ap-northeast-1",
    "ca-central-1",
    "sa-east-1",
    "eu-north-1",
    "ap-south-1",
    "us-east-2",
    "eu-west-2",
    "eu-west-3",
    "ap-southeast-1",
    "ap-northeast-2",
    "us-west-1",
    "ap-northeast-3",
];

/// How events are delivered in the demo. Each hop takes up to five seconds, some events arrive twice, and none is lost.
const DELIVERY: DeliverySettings =
    DeliverySettings { drop_probability: 0.0, duplicate_probability: 0.1, max_delay_ms: 5_000, reorder: true };

/// Runs the demo. The exit code depends on its final state.
pub(crate) async fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let regions: Vec<String> = REGIONS.iter().take(args.regions).map(|region| (*region).to_owned()).collect();
    // A quarter of the accounts joins during the demo. The management and the central account exist from the start.
    let joining = (args.accounts / 4).max(1).min(args.accounts.saturating_sub(2));
    let organization = SimBuilder {
        accounts: args.accounts - joining,
        regions: regions.clone(),
        vpcs: args.vpcs,
        seed: args.seed,
        ..SimBuilder::default()
    };
    let lab = Lab::new(&LabOptions { organization, settings: Vec::new() }).context("cannot build the demo")?;
    lab.sim.set_event_delivery(DELIVERY, args.seed);
    let show = Show::new(lab.sim.now_ms(), args.json);
    let mut script = Script::new(lab, show, regions.clone(), args);
    script.play(joining).await?;
    let summary = Summary::of(&script.lab, &regions, script.show.finish());
    summary.print(args.json)?;
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
