//! What the permission contract is tried on: everything that the installation does with its roles, with and without
//! each permission.

mod cases;

use std::collections::{BTreeMap, BTreeSet};

use enroller_lab::templates::RoleResource;
use enroller_lab::{Element, Lab, Withheld};
use enroller_sim::iam::{Denial, Use};
use enroller_sim::policy_language::{statement_name, statements, strings};
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

pub use cases::CASES;

use crate::scenarios::{IRELAND, SCENARIOS};
use crate::state::{managed, unmanaged};
use crate::with_settings;

/// Longer in virtual time than a message is tried; what is not well then stays so until somebody does something.
const HORIZON_MS: u64 = 3 * 3_600_000;

/// Something that happens to an installation, and what is seen of it.
#[derive(Clone, Copy)]
pub struct Case {
    /// For the report.
    pub name: &'static str,
    prepare: fn() -> LocalBoxFuture<'static, Lab>,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    /// A scenario of the fault matrix: begins, may be swept, settles.
    Scenario { begin: for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, ()>, sweep: bool },
    /// What is done, and further lines of what came of it.
    Own(for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, Outcome>),
}

/// Lines that tell what came of something, or that a function failed as a whole.
type Outcome = Result<Vec<String>, enroller_lab::LabError>;

/// What came of a case.
#[derive(Debug)]
pub struct Run {
    /// The end state, as lines that say nothing of ids and times of what the enroller made.
    pub end: Vec<String>,
    /// Permissions that were used.
    pub uses: BTreeSet<Use>,
    /// Permissions that were missing.
    pub denials: BTreeSet<Denial>,
}

/// The scenarios of the fault matrix, and those that only permissions need.
pub fn all() -> Vec<Case> {
    let scenarios = SCENARIOS.iter().map(|scenario| Case {
        name: scenario.name,
        prepare: scenario.prepare,
        act: Act::Scenario { begin: scenario.begin, sweep: scenario.sweep },
    });
    scenarios.chain(CASES.iter().copied()).collect()
}

/// Everything that the roles of the templates allow, in all variants: names of role, policy and statement, with actions
/// and the number of resources.
///
/// # Panics
///
/// A template cannot be evaluated.
pub fn allowed() -> BTreeMap<(String, String, String), (BTreeSet<String>, usize)> {
    let mut found = BTreeMap::new();
    for setting in [cases::KEY, ("delivery_role_maker", "enroller")] {
        let lab = with_settings(2, &[IRELAND], 0, &[setting]);
        let account = lab.sim.management();
        let stacks = &lab.stacks;
        for stack in [stacks.central_stack(), stacks.member_stack(&account, IRELAND), stacks.management_stack()] {
            let roles = stack.and_then(|stack| Ok(stack.roles()?));
            for role in roles.unwrap_or_else(|error| panic!("{error}")) {
                found.extend(allowed_by(&role));
            }
        }
    }
    found
}

/// What a statement of a role allows: its actions, and the number of its resources.
type Allowed = ((String, String, String), (BTreeSet<String>, usize));

fn allowed_by(role: &RoleResource) -> Vec<Allowed> {
    let of_statement = |policy: &str, number: usize, statement: &Value| {
        let name = (role.name.clone(), policy.to_owned(), statement_name(number, statement));
        let actions = strings(&statement["Action"]).map(str::to_owned).collect();
        (name, (actions, strings(&statement["Resource"]).count()))
    };
    let documents = role.policies.iter();
    documents
        .flat_map(|(policy, document)| {
            let numbered = statements(document).enumerate();
            numbered.map(|(number, statement)| of_statement(policy, number, statement)).collect::<Vec<_>>()
        })
        .collect()
}

/// Runs a case with the roles of the templates, or with one permission less from its beginning on. What was prepared
/// before has all.
///
/// # Panics
///
/// The case itself cannot be prepared.
pub async fn run(case: &Case, withheld: Option<&Withheld>) -> Run {
    let mut lab = (case.prepare)().await;
    if case.name != cases::DOCTOR {
        // Where nobody operates, the member role has what the functions need and no more.
        lab.stacks = lab.stacks.clone().operated_by("");
    }
    // Roles are put anew in either case, so that both runs draw the same ids.
    let nothing = Withheld {
        role: String::new(),
        policy: String::new(),
        statement: String::new(),
        element: Element::Action(String::new()),
    };
    if let Err(error) = lab.withhold(withheld.unwrap_or(&nothing).clone()) {
        panic!("{}: {error}", case.name);
    }
    lab.sim.with(|world| world.iam.forget_uses());
    let told = match case.act {
        Act::Own(act) => act(&mut lab).await,
        Act::Scenario { begin, sweep } => {
            begin(&mut lab).await;
            sweep_and_settle(&lab, sweep).await
        }
    };
    let mut end = told.unwrap_or_else(|error| vec![format!("failed: {error:?}")]);
    end.extend(end_state(&lab));
    let (uses, denials) = lab.sim.with(|world| (world.iam.uses(), world.iam.denials()));
    Run { end, uses, denials }
}

/// Sweeps if asked to, and lets everything settle.
async fn sweep_and_settle(lab: &Lab, sweep: bool) -> Outcome {
    if sweep {
        lab.sweep(json!({ "reason": "test" })).await?;
    }
    lab.settle(HORIZON_MS).await?;
    Ok(Vec::new())
}

fn end_state(lab: &Lab) -> Vec<String> {
    let mut lines = managed(lab);
    // Roles of the stacks are what is being changed.
    lines.extend(unmanaged(lab).into_iter().filter(|line| !line.contains(" Role {")));
    let before = lab.sim.traffic_report();
    lab.sim.traffic_tick();
    let after = lab.sim.traffic_report();
    let (sent, delivered) = (after.sent - before.sent, after.delivered - before.delivered);
    lines.push(format!("{delivered} of {sent} records arrive"));
    for queue in ["enrollments", "grants.fifo", "backfill", "enrollments-dead", "grants-dead.fifo", "backfill-dead"] {
        let left = lab.sim.bodies(&lab.url(queue)).map_or(0, |bodies| bodies.len());
        lines.push(format!("{left} messages on {queue}"));
    }
    lines.extend(lab.functions_with_a_log().into_iter().map(|function| format!("{function} has a log")));
    lines
}
