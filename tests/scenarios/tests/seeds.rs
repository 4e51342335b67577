//! Random schedules: `cargo test --test seeds -- --seeds 10000` runs 10,000 of them, `-- --seed 17` exactly replays
//! one.
//!
//! This test has its own runner, because libtest accepts no further arguments. The runner understands what `cargo test`
//! passes to every test: a part of a name, `--list`, `--ignored`, and options about output, which it ignores.

#![cfg(test)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use enroller_tests::schedule::{ScheduleOutcome, run_schedule};

/// Number of schedules unless an argument sets another.
const SEEDS: u64 = 200;

/// The first seed unless an argument sets another.
const FIRST: u64 = 1;

/// A test: its name and its function.
type Test = (&'static str, fn(&Arguments) -> Result<(), String>);

const TESTS: [Test; 2] = [
    ("after_any_schedule_and_one_sweep_every_invariant_holds", every_invariant_holds),
    ("a_seed_replays_exactly", replays_exactly),
];

#[derive(Debug, Default)]
struct Arguments {
    seeds: Option<u64>,
    first: Option<u64>,
    name: Option<String>,
    list: bool,
    ignored: bool,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self { seeds: number("ENROLLER_SEEDS"), first: number("ENROLLER_SEED"), ..Self::default() };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let (key, value) = argument.split_once('=').map_or((argument.as_str(), None), |(key, it)| (key, Some(it)));
            let mut number = || value.map(str::to_owned).or_else(|| given.next()).map(|text| text.parse().unwrap());
            match key {
                "--seeds" => read.seeds = number(),
                "--seed" => read.first = number(),
                "--list" => read.list = true,
                "--ignored" => read.ignored = true,
                "--test-threads" | "--format" | "--color" | "-Z" | "--skip" if value.is_none() => drop(given.next()),
                flag if flag.starts_with('-') => {}
                name => read.name = Some(name.to_owned()),
            }
        }
        read
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let meant = |name: &str| arguments.name.as_ref().is_none_or(|part| name.contains(part)) && !arguments.ignored;
    let (chosen, others): (Vec<Test>, Vec<Test>) = TESTS.into_iter().partition(|(name, _)| meant(name));
    if arguments.list {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let mut failed = 0;
    for (name, test) in &chosen {
        let outcome = test(&arguments);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        if let Err(wrong) = outcome {
            failed += 1;
            eprintln!("{wrong}");
        }
    }
    println!(
        "\ntest result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        chosen.len() - failed,
        others.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(seed: u64) -> Result<ScheduleOutcome, String> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run_schedule(seed))
}

fn every_invariant_holds(arguments: &Arguments) -> Result<(), String> {
    let first = arguments.first.unwrap_or(FIRST);
    let count = arguments.seeds.unwrap_or(if arguments.first.is_some() { 1 } else { SEEDS });
    let (next, calls) = (AtomicU64::new(first), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match run(seed) {
                        Ok(outcome) => drop(calls.fetch_add(outcome.calls as u64, Ordering::Relaxed)),
                        Err(wrong) => failures.lock().unwrap_or_else(PoisonError::into_inner).push((seed, wrong)),
                    }
                }
            });
        }
    });
    let (seconds, calls) = (begun.elapsed().as_secs_f64(), calls.into_inner());
    println!("{count} seeds, {calls} calls, {seconds:.0} s, {:.1} seeds a second", count as f64 / seconds);
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let Some((seed, wrong)) = failures.first() else { return Ok(()) };
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    Err(format!("{} of {count} seeds fail: {seeds:?}\nagain with -- --seed {seed}:\n{wrong}", seeds.len()))
}

fn replays_exactly(_: &Arguments) -> Result<(), String> {
    for seed in [1, 7, 4_242] {
        let (once, again) = (run(seed)?, run(seed)?);
        if once != again {
            return Err(format!("seed {seed} went {once:?} and then {again:?}"));
        }
    }
    Ok(())
}
