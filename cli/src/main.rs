//! `enroller`: the operator's tool.
//!
//! | topic | module |
//! |---|---|
//! | commands, flags and help texts | `args` |
//! | the sources of a setting's value | `configuration` |
//! | terminal output, colours, error reports | `output` |
//! | `explain-event` | `explain` |
//! | `settings` | `reference` |
//! | `demo` | `demo` |
//! | `sim` | `sim` |
//! | which AWS a command works on: the real one or `--sim` | `session`, `simulated` |
//! | whether the credentials and the settings belong together | `identity` |
//! | what a report is about: scope, caller, settings, time | `about` |
//! | which inspected VPCs are covered | `judged` |
//! | writing grants | `granting` |
//! | what a person can do next | `next_step` |
//! | `plan`, `backfill`, `coverage`, `grants`, `doctor` | `plan`, `backfill`, `coverage`, `grants`, `doctor` |

mod about;
mod args;
mod backfill;
mod configuration;
mod coverage;
#[cfg(feature = "sim")]
mod demo;
mod doctor;
mod explain;
mod granting;
mod grants;
mod identity;
mod interrupt;
mod judged;
mod next_step;
mod output;
mod plan;
mod progress;
mod reference;
mod session;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod simulated;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use clap_complete::{Generator, Shell};

use args::{Arguments, Command};
use output::Output;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => run(&arguments.command).unwrap_or_else(|error| output::failed(&error)),
        Err(answer) => output::print_clap_answer(&answer),
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Plan(args) => wait_for(plan::run(args)),
        Command::Backfill(args) => wait_for(backfill::run(args)),
        Command::Coverage(args) => wait_for(coverage::run(args)),
        Command::Grants(args) => wait_for(grants::run(args)),
        Command::Doctor(args) => wait_for(doctor::run(args)),
        #[cfg(feature = "sim")]
        Command::Demo(args) => wait_for(demo::run(args)),
        #[cfg(feature = "sim")]
        Command::Sim(args) => wait_for(sim::run(args)),
        Command::ExplainEvent(args) => explain::run(args),
        Command::Settings(args) => reference::run(args),
        Command::Completions(args) => completions(args.shell),
    }
}

/// Runs a command that calls AWS, real or simulated. Other commands need no runtime and start no threads.
fn wait_for(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(work)
}

fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut command = Arguments::command();
    command.set_bin_name("enroller");
    command.build();
    let mut script = Vec::new();
    shell.try_generate(&command, &mut script).context("cannot generate the completion script")?;
    let mut out = Output::stdout();
    out.bytes(&script)?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
