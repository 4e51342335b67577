//! `enroller sim`: serves the simulated AWS over HTTP.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use enroller_core::settings::Settings;
use enroller_lab::install::FUNCTION_ROLES;
use enroller_lab::{Installation, installation_settings};
use enroller_sim::{LimitClock, Sim, SimBuilder};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::args::{Limits, SimArgs};
use crate::configuration::Configuration;
use crate::output::Output;

/// The JSON object on the first line of the output.
#[derive(Debug, Serialize)]
struct Ready {
    endpoint: String,
    organization_id: String,
    home_region: String,
    management_account: Keys,
    central_account: Keys,
    /// All accounts of the organization, including the two above.
    member_accounts: Vec<String>,
    regions: Vec<String>,
    installed: bool,
    member_role: String,
    external_id: Option<String>,
    /// The ARN of the first destination in each Region. The destinations exist only with `--installed`.
    destinations: BTreeMap<String, String>,
    /// Credentials of the functions' roles by role name, as Lambda gives them to a function. They are valid for an hour
    /// and exist only with `--installed`.
    function_roles: BTreeMap<String, RoleKeys>,
    /// Environment variables with the settings for commands that work on this installation.
    environment: BTreeMap<String, String>,
}

/// An account with access keys that have full access to it.
#[derive(Debug, Serialize)]
struct Keys {
    id: String,
    access_key_id: String,
    secret_access_key: String,
}

impl Keys {
    fn of(sim: &Sim, account: String) -> Self {
        let credentials = sim.credentials_of(&account);
        Self { id: account, access_key_id: credentials.access_key_id, secret_access_key: credentials.secret_access_key }
    }
}

/// Credentials of a role session.
#[derive(Debug, Serialize)]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Sessions of the function roles that exist.
fn function_roles(sim: &Sim) -> BTreeMap<String, RoleKeys> {
    let session = |(function, role): (&str, &str)| {
        let keys = sim.role_session(&sim.central(), role, function)?;
        let (access_key_id, secret_access_key) = (keys.access_key_id, keys.secret_access_key);
        Some((role.to_owned(), RoleKeys { access_key_id, secret_access_key, session_token: keys.session_token }))
    };
    FUNCTION_ROLES.into_iter().filter_map(session).collect()
}

/// The organization without the enroller.
fn organization(args: &SimArgs, regions: Vec<String>) -> Sim {
    let (accounts, vpcs) = (args.accounts, args.vpcs);
    let limits = match args.limits {
        Limits::Aws => LimitClock::Real,
        Limits::None => LimitClock::Off,
    };
    SimBuilder { accounts, regions, vpcs, real_time: true, limits, ..SimBuilder::default() }.build()
}

/// Serves the simulated AWS until it is interrupted.
pub(crate) async fn run(args: &SimArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    let endpoint = format!("http://{}", listener.local_addr().context("cannot determine the listening address")?);
    let regions: Vec<String> = args.regions.iter().map(ToString::to_string).collect();
    let sim = organization(args, regions.clone());
    let given = Configuration::of_flags(&args.set)?;
    let given: Vec<(&str, &str)> = given.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let settings = installation_settings(&sim, &regions, &given)?;
    // Clients use the account's own keys.
    let operator = format!("arn:aws:iam::{}:root", settings.central_account);
    let stacks = Installation::new(sim.clone(), settings.clone()).operated_by(&operator);
    if args.installed {
        install(&sim, &stacks, &settings)?;
    }
    // The calls of the installation must not be slow, and must not count in the user's statistics.
    sim.with(|world| {
        world.settings.latency_ms = args.latency_ms;
        world.stats.reset();
    });
    for rule in &args.set_rule {
        sim.set_rule(rule).with_context(|| format!("--set-rule {rule}"))?;
    }
    let ready = Ready {
        endpoint,
        organization_id: settings.organization_id.to_string(),
        home_region: settings.home_region.to_string(),
        management_account: Keys::of(&sim, sim.management()),
        central_account: Keys::of(&sim, sim.central()),
        member_accounts: sim.members(),
        regions,
        installed: args.installed,
        member_role: settings.member_role_name.to_string(),
        external_id: settings.external_id.clone(),
        destinations: stacks.destination_arns(),
        function_roles: function_roles(&sim),
        environment: environment(&settings, &given),
    };
    // Signals are handled before the line is printed, because its reader may stop the command at once.
    let stop = crate::interrupt::interrupted();
    let mut out = Output::stdout();
    out.json(&ready)?;
    out.finish()?;
    enroller_sim::server::serve(listener, sim, stop).await.context("the simulated AWS stopped serving")?;
    Ok(ExitCode::SUCCESS)
}

/// Deploys the stacks with roles, rules and queues, and creates the destinations.
fn install(sim: &Sim, stacks: &Installation, settings: &Settings) -> anyhow::Result<()> {
    stacks.deploy_center()?;
    for account in sim.members() {
        stacks.deploy_member(&account)?;
    }
    let parts = settings.destination_parts()?;
    let (target, role) = (parts.target.to_string(), parts.role.to_string());
    let central = sim.central();
    let name = settings.destination_name.base().as_str();
    for region in &settings.regions {
        let made = sim.with(|world| world.put_destination(&central, region.as_str(), name, &target, &role));
        made.map_err(|refusal| anyhow::anyhow!("the destination of {region} cannot be made: {refusal:?}"))?;
    }
    Ok(())
}

fn environment(settings: &Settings, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let regions: Vec<&str> = settings.regions.iter().map(enroller_core::ids::Region::as_str).collect();
    let arn = |arn: &Option<enroller_core::arn::Arn>| arn.as_ref().map(ToString::to_string);
    let values = [
        ("central_account", Some(settings.central_account.to_string())),
        ("organization_id", Some(settings.organization_id.to_string())),
        ("home_region", Some(settings.home_region.to_string())),
        ("regions", Some(regions.join(","))),
        ("destination_target_arn", arn(&settings.destination_target_arn)),
        ("destination_role_arn", arn(&settings.destination_role_arn)),
        ("external_id", settings.external_id.clone()),
        ("enrollments_queue_url", settings.enrollments_queue_url.clone()),
        ("grants_queue_url", settings.grants_queue_url.clone()),
        ("backfill_queue_url", settings.backfill_queue_url.clone()),
    ];
    let given = given.iter().map(|(key, value)| (*key, Some((*value).to_owned())));
    let all = values.into_iter().chain(given);
    all.filter_map(|(key, value)| Some((enroller_core::settings::environment_name(key), value?))).collect()
}
