//! Commands, flags and their help texts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use enroller_core::backfill::{BackfillRequest, Exclusion};
use enroller_core::ids::{AccountId, ParentId, Region};

use crate::configuration::{Assignment, SettingsArgs};

/// VPC Flow Logs for a whole AWS organization: plan, enroll, audit and diagnose
#[derive(Debug, Parser)]
#[command(name = "enroller", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  enroller demo                          watch an organization being enrolled; needs no AWS account
  enroller explain-event event.json      show what the enroller would do with an event
  enroller sim --listen 127.0.0.1:5000   serve a simulated AWS to the AWS CLI or any SDK

Exit codes:
  0  success
  1  failed, including invalid arguments, settings or credentials
  2  command-specific, see `enroller COMMAND --help`

Colours are used only on a terminal, and never if NO_COLOR is set.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Plan(PlanArgs),
    Backfill(BackfillArgs),
    Coverage(CoverageArgs),
    Grants(GrantsArgs),
    Doctor(DoctorArgs),
    #[cfg(feature = "sim")]
    Demo(DemoArgs),
    #[cfg(feature = "sim")]
    Sim(SimArgs),
    ExplainEvent(ExplainEventArgs),
    Settings(SettingsCommandArgs),
    Completions(CompletionsArgs),
}

/// Show what a backfill would do, account by account, without changing anything
///
/// Inspects every selected VPC with the member roles, in every enrolled Region. Shows what a backfill would change and
/// why, and for each VPC that would not be enrolled, the reason.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller plan --sim                   on a simulated organization; needs no AWS account
  enroller plan --config enroller.toml
  enroller plan --config enroller.toml --account 111122223333 --region eu-west-1
  enroller plan --config enroller.toml --format json | jq .summary
  enroller plan --config enroller.toml --out today.plan

Uses credentials of the central account, from the environment or a profile (--profile, AWS_PROFILE), as the
AWS CLI does. AWS_ENDPOINT_URL, AWS_CA_BUNDLE, HTTPS_PROXY and NO_PROXY are honoured.

Exit codes:
  0  nothing to do
  1  no change is known to be pending, but some accounts could not be inspected, or VPCs are broken that a backfill
     does not help; also if the settings or credentials are wrong
  2  changes are pending")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: PlanFormat,
    /// Also write the plan to this file, for `enroller backfill --plan FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// The output formats of a plan and of the grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Human-readable
    Text,
    /// One JSON object
    Json,
}

/// Enroll every selected VPC that is not enrolled
///
/// Has the accounts granted on the destinations and then reconciles them, several at once. One failing account never
/// stops the others, and running the command again is always safe. Grants are written by account-onboarder, which is
/// asked through its queue (grants_queue_url) and waited for. Without --yes, the command shows a summary of the plan and
/// asks. Only what you confirm is done: a change beyond the plan is reported as a failure and not made. With --account,
/// --ou, --exclude or --region, only the grants of the selection are asked for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller backfill --sim --yes
  enroller backfill --config enroller.toml
  enroller backfill --config enroller.toml --ou ou-exam-11111111 --yes
  enroller backfill --config enroller.toml --plan today.plan
  enroller backfill --config enroller.toml --function backfill
  enroller backfill --config enroller.toml --write-grants        without account-onboarder

Ctrl-C lets the accounts in progress finish and then reports the results.

Exit codes:
  0  every selected VPC is covered or deliberately left alone
  1  something failed or the run was interrupted; the last lines of the output give details")]
pub(crate) struct BackfillArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Do not ask for confirmation
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Carry out exactly the plan that `enroller plan --out FILE` wrote; refused if anything has changed since
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["accounts", "units", "exclude", "regions", "function"]
    )]
    pub(crate) plan: Option<PathBuf>,
    /// Write the grants from this machine instead of asking account-onboarder; only for an installation without the
    /// functions, because two writers lose each other's accounts. --sim implies it: no functions run there
    #[arg(long, conflicts_with = "function")]
    pub(crate) write_grants: bool,
    /// Invoke this deployed function instead of working from this machine, and watch the queues until they are empty
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sim", "concurrency"])]
    pub(crate) function: Option<String>,
    /// Number of accounts to process at once; defaults to the setting max_concurrency
    #[arg(long, value_name = "N", value_parser = count(1, 256))]
    pub(crate) concurrency: Option<usize>,
}

/// Show which VPCs are covered, which are not, and why
///
/// A live audit of every selected VPC. A VPC is covered, broken (its flow log does not deliver, or its subscription
/// filter or grant is missing), not covered, foreign only (other tools' flow logs), or deliberately left alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller coverage --sim
  enroller coverage --sim --html coverage.html      one page that opens from disk
  enroller coverage --config enroller.toml --format csv > coverage.csv

Exit codes:
  0  every VPC is covered or deliberately left alone
  1  some VPCs are not covered or could not be inspected")]
pub(crate) struct CoverageArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: CoverageFormat,
    /// List every VPC instead of summarizing the covered ones
    #[arg(long)]
    pub(crate) all: bool,
    /// Also write a self-contained HTML page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// The output formats of a coverage report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoverageFormat {
    /// Human-readable
    Table,
    /// One row per VPC, with a header
    Csv,
    /// One JSON object
    Json,
}

/// List the destinations, their granted accounts and the policy bytes left, or sync the grants with the organization
///
/// `enroller grants sync` grants members that lack a grant and removes accounts that Organizations confirms have left. It
/// asks account-onboarder through its queue (grants_queue_url), and waits until the policies show it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller grants --sim
  enroller grants --config enroller.toml --format json
  enroller grants sync --dry-run --config enroller.toml

Exit codes:
  0  the grants were listed, or are in sync
  1  the grants could not be read or written completely
  2  with sync --dry-run: changes are pending")]
pub(crate) struct GrantsArgs {
    // This is a positional value, not a subcommand. clap parses a subcommand's flags separately from those in front of
    // it, and `grants --sim sync` must never mean the real AWS.
    /// What to do with the grants; without an action they are listed
    #[arg(value_name = "ACTION")]
    pub(crate) action: Option<GrantsAction>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// With sync: only show what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With sync: do not ask for confirmation
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// With sync: allow what the guards hold back (many revocations at once, switching a policy to the organization)
    #[arg(long)]
    pub(crate) allow_mass_revocation: bool,
    /// With sync: write from this machine instead of asking account-onboarder; only for an installation without the
    /// functions, because two writers lose each other's accounts. --sim implies it: no functions run there
    #[arg(long)]
    pub(crate) write_grants: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: PlanFormat,
}

impl GrantsArgs {
    /// The first flag that means something only with `sync`, if it is given without.
    pub(crate) fn stray_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--dry-run", self.dry_run),
            ("--yes", self.yes),
            ("--allow-mass-revocation", self.allow_mass_revocation),
            ("--write-grants", self.write_grants),
        ];
        flags.into_iter().find(|(_, given)| self.action.is_none() && *given).map(|(flag, _)| flag)
    }
}

/// The actions of `enroller grants`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantsAction {
    /// Grant members that lack a grant, and remove accounts that Organizations confirms have left
    Sync,
}

/// Check a live installation: what works, what does not, and how to fix it
///
/// Checks the caller and the organization, destinations, grants, event buses and rules, queues and dead letters. In a
/// sample of the member accounts it also checks roles, Regions, rules, trails and quotas. Changes nothing. Needs
/// credentials of the central account; anything that these credentials or the member role cannot read is reported as
/// unknown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller doctor --sim
  enroller doctor --config enroller.toml --all
  enroller doctor --config enroller.toml --format json | jq '.checks[] | select(.status != \"ok\")'

Exit codes:
  0  everything that was checked works, possibly with warnings
  1  something does not work
  2  nothing is known to be broken, but something could not be checked")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Number of accounts to check, spread over all accounts in scope; the management account's rules are always checked
    #[arg(long, value_name = "N", default_value_t = enroller_engine::doctor::SAMPLE, value_parser = count(0, 100_000))]
    pub(crate) sample: usize,
    /// Check every account in scope
    #[arg(long, conflicts_with = "sample")]
    pub(crate) all: bool,
    /// Name of the event bus in the central account
    #[arg(long, value_name = "NAME", default_value = enroller_engine::doctor::BUS)]
    pub(crate) bus: String,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: DoctorFormat,
}

/// The output formats of a doctor report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// Human-readable
    Table,
    /// One JSON object
    Json,
}

/// Which AWS a command works on: the real one, or a simulated one.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Sign in with this profile of the AWS CLI, whatever keys the environment has
    #[arg(long, value_name = "NAME")]
    #[cfg_attr(feature = "sim", arg(conflicts_with = "sim"))]
    pub(crate) profile: Option<String>,
    /// Work on a simulated organization in this process, which was enrolled once and then partly broken; --set changes
    /// its settings, the environment does not
    #[cfg(feature = "sim")]
    #[arg(long, conflicts_with = "config")]
    pub(crate) sim: bool,
    /// With --sim: number of accounts in the organization
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count(2, 10_000), requires = "sim")]
    pub(crate) sim_accounts: usize,
    /// With --sim: VPCs per account and Region, in addition to the default VPC
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(0, 1_000), requires = "sim")]
    pub(crate) sim_vpcs: usize,
}

/// Which accounts and Regions a command works on; all of them unless narrowed.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Only this account (repeatable)
    #[arg(long = "account", value_name = "ID")]
    pub(crate) accounts: Vec<AccountId>,
    /// Only accounts below this root or organizational unit (repeatable)
    #[arg(long = "ou", value_name = "ID")]
    pub(crate) units: Vec<ParentId>,
    /// Exclude this account (repeatable)
    #[arg(long = "exclude", value_name = "ID")]
    pub(crate) exclude: Vec<AccountId>,
    /// Only this enrolled Region (repeatable)
    #[arg(long = "region", value_name = "REGION")]
    pub(crate) regions: Vec<Region>,
}

impl SelectionArgs {
    /// The selection as a backfill request, the form that the plan, the backfill and the functions take.
    pub(crate) fn request(&self) -> BackfillRequest {
        BackfillRequest {
            accounts: self.accounts.iter().copied().collect(),
            organizational_units: self.units.iter().cloned().collect(),
            exclude: self.exclude.iter().copied().map(Exclusion::Account).collect(),
            regions: self.regions.iter().cloned().collect(),
            ..BackfillRequest::default()
        }
    }
}

/// Watch a simulated organization being enrolled; needs no AWS account and no network
///
/// Builds an organization, installs the enroller in it and shows what happens while accounts join and leave, and people
/// create VPCs and delete what the enroller created. The real functions do the work, on a simulated AWS in this process.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller demo
  enroller demo --accounts 700 --regions 2 --vpcs 1
  enroller demo --json | jq .

Exit codes:
  0  every VPC is covered, every account is granted, and no record was lost after enrollment
  1  a VPC is not covered, an account is not granted, a record was lost, or the demo could not run")]
pub(crate) struct DemoArgs {
    /// Number of accounts in the organization, including the management and the central account
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count(2, 10_000))]
    pub(crate) accounts: usize,
    /// Number of enrolled Regions
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(1, 17))]
    pub(crate) regions: usize,
    /// VPCs per account and Region, in addition to the default VPC
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(0, 1_000))]
    pub(crate) vpcs: usize,
    /// Random seed; the same seed gives the same organization and the same story
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one JSON object at the end instead of the timeline and tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serve a simulated AWS over HTTP, for the AWS CLI, any SDK, or this tool
///
/// Implements the operations that the enroller uses, and rejects what AWS rejects. Prints one line of JSON when it is
/// ready: endpoint, organization, accounts and access keys. Serves until it is interrupted. GET /_sim/stats returns the
/// calls by operation, account and Region; /_sim/rules takes rules while it runs. All state is in memory and is lost when the command ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller sim --listen 127.0.0.1:5000
  enroller sim --accounts 50 --regions eu-west-1,us-east-1 --vpcs 4 --latency-ms 40 --installed
  enroller sim --installed --set-rule outage=service=ec2,region=us-east-1,answer=silence,seconds=300
  aws --endpoint-url http://127.0.0.1:5000 ec2 describe-vpcs   (with the keys from the first line)

Exit codes:
  0  it served until it was interrupted
  1  it could not start, for example because the port is in use")]
pub(crate) struct SimArgs {
    /// Address and port to listen on; with port 0 a free port is chosen, and the first line shows it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Number of accounts in the organization, including the management and the central account
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count(2, 10_000))]
    pub(crate) accounts: usize,
    /// Regions that every account has enabled; the first one is the home Region
    #[arg(long, value_name = "REGION,…", value_delimiter = ',', default_value = "eu-west-1,us-east-1")]
    pub(crate) regions: Vec<Region>,
    /// VPCs per account and Region, in addition to the default VPC
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(0, 1_000))]
    pub(crate) vpcs: usize,
    /// Minimum latency of every response, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub(crate) latency_ms: u64,
    /// Request rates: `aws` throttles as AWS does, `none` never throttles
    #[arg(long, value_name = "LIMITS", default_value = "none")]
    pub(crate) limits: Limits,
    /// Start with member roles, destinations, queues and event rules in place
    #[arg(long)]
    pub(crate) installed: bool,
    /// One setting of that installation (repeatable); `enroller settings` lists them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Assignment>,
    /// A rule of the simulated AWS (repeatable), such as `sts-off=eu-west-1`; docs/simulator.md lists them
    #[arg(long = "set-rule", value_name = "NAME=VALUE")]
    pub(crate) set_rule: Vec<String>,
}

/// Request rates of the simulated AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Limits {
    /// AWS's token buckets
    Aws,
    /// No limits
    None,
}

/// Explain what the enroller would do with events, and why
///
/// Reads EventBridge events, CloudTrail records (alone, in arrays or in {"Records": […]} files), Lambda's SQS and SNS
/// records and the enroller's own messages. A file may hold several documents, with or without line breaks between
/// them. Prints one line of JSON for each event: source, decision (enroll, repair, grant, revoke, sync or ignore),
/// account, region, resource, reason. Calls no AWS service and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller explain-event event.json
  gunzip -c *.json.gz | enroller explain-event - | grep -v '\"decision\":\"ignore\"'
  enroller explain-event --set log_group_name=/org/flow-logs events/*.json

Settings that name the managed resources an event can concern:
  log_group_name, filter_name, member_role_name, member_stack_name   (with the usual defaults)
  organization_id                    (if it is not set, a handshake of any organization counts)

Exit codes:
  0  every input was explained
  1  invalid arguments or settings
  2  some input could not be read or is not JSON, see standard error; the rest was explained")]
pub(crate) struct ExplainEventArgs {
    /// Files to read, `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// List all settings with their defaults, or check the values that are set
///
/// Without flags: every setting, the environment variable that sets it in the functions and in this tool, its default
/// and its meaning. With --check, --config or --set: the values in force and where each comes from.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller settings
  enroller settings --check
  enroller settings --config enroller.toml --set retention_days=90

A configuration file is TOML, with the settings at the top level:
  central_account = \"111122223333\"
  regions = [\"eu-west-1\", \"us-east-1\"]
  retention_days = 90

Exit codes:
  0  the settings were listed, or every value is valid
  1  some values are invalid; standard error lists all of them")]
pub(crate) struct SettingsCommandArgs {
    /// Check the values in force instead of listing the defaults
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  enroller completions bash > ~/.local/share/bash-completion/completions/enroller
  enroller completions zsh > \"${fpath[1]}/_enroller\"
  enroller completions fish > ~/.config/fish/completions/enroller.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell to write the script for
    pub(crate) shell: Shell,
}

/// Parses a number within bounds. The error names the bounds.
fn count(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.command)
    }

    #[test]
    fn clap_accepts_the_definitions() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  "), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn the_demo_defaults_to_twelve_accounts_three_regions_three_vpcs() {
        let Command::Demo(args) = parsed("enroller demo").unwrap() else { panic!("not the demo") };
        assert_eq!((args.accounts, args.regions, args.vpcs, args.json), (12, 3, 3, false));
    }

    #[test]
    fn the_simulated_aws_accepts_all_its_flags() {
        let line = "enroller sim --listen 127.0.0.1:5000 --accounts 50 --regions eu-west-1,us-east-1 --vpcs 4 \
            --latency-ms 40 --limits aws --installed";
        let Command::Sim(args) = parsed(line).unwrap() else { panic!("not the sim") };
        assert_eq!(args.listen.port(), 5000);
        assert_eq!(args.regions.iter().map(Region::as_str).collect::<Vec<_>>(), ["eu-west-1", "us-east-1"]);
        assert_eq!((args.accounts, args.vpcs, args.latency_ms), (50, 4, 40));
        assert_eq!((args.limits, args.installed), (Limits::Aws, true));
    }

    #[test]
    fn a_number_out_of_bounds_is_refused_with_the_bounds() {
        for (line, expected) in [
            ("enroller demo --accounts 1", "from 2 to 10000"),
            ("enroller demo --regions 18", "from 1 to 17"),
            ("enroller sim --vpcs many", "from 0 to 1000"),
            ("enroller sim --regions eu-west-1,mars", "mars"),
            ("enroller explain-event --set log_group_name event.json", "KEY=VALUE"),
        ] {
            let refusal = parsed(line).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn connection_flags_count_in_any_position() {
        for line in [
            "enroller grants --sim --set a=1 sync --yes --set b=2",
            "enroller grants sync --set a=1 --yes --sim --set b=2",
            "enroller grants --set a=1 --yes --set b=2 sync --sim",
        ] {
            let Command::Grants(args) = parsed(line).unwrap() else { panic!("not the grants") };
            assert!(args.connection.sim && args.yes, "{line}");
            assert_eq!(args.connection.settings.set.len(), 2, "{line}");
            assert_eq!(args.action, Some(GrantsAction::Sync), "{line}");
        }
    }

    #[test]
    fn a_settings_file_is_refused_with_a_simulated_organization() {
        for command in ["plan", "backfill", "coverage", "grants", "grants sync", "doctor"] {
            let refusal = parsed(&format!("enroller {command} --sim --config enroller.toml")).unwrap_err().to_string();
            assert!(refusal.contains("--sim") && refusal.contains("--config"), "{refusal}");
        }
    }

    #[test]
    fn a_profile_is_refused_with_a_simulated_organization() {
        for command in ["plan", "backfill", "coverage", "grants", "grants sync", "doctor"] {
            let refusal = parsed(&format!("enroller {command} --sim --profile audit")).unwrap_err().to_string();
            assert!(refusal.contains("--sim") && refusal.contains("--profile"), "{refusal}");
        }
    }

    #[test]
    fn no_command_has_a_subcommand_with_separately_parsed_flags() {
        for command in Arguments::command().get_subcommands() {
            assert_eq!(command.get_subcommands().count(), 0, "{}", command.get_name());
        }
    }

    #[test]
    fn flags_of_a_sync_are_refused_without_one() {
        for flag in ["--yes", "--dry-run", "--allow-mass-revocation", "--write-grants"] {
            for (line, stray) in [(format!("grants --sim {flag}"), Some(flag)), (format!("grants sync {flag}"), None)] {
                let Command::Grants(args) = parsed(&format!("enroller {line}")).unwrap() else {
                    panic!("not the grants")
                };
                assert_eq!(args.stray_flag(), stray, "{line}");
            }
        }
    }

    #[test]
    fn explain_event_needs_a_file_and_a_dash_is_standard_input() {
        assert!(parsed("enroller explain-event").is_err());
        let Command::ExplainEvent(args) = parsed("enroller explain-event - a.json").unwrap() else {
            panic!("not explain-event")
        };
        assert_eq!(args.files, [PathBuf::from("-"), PathBuf::from("a.json")]);
    }
}
