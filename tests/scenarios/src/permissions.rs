//! Cases for the permission contract: everything that the installation does with its roles, run with all permissions or
//! without one of them.

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

/// Three hours in milliseconds of virtual time, longer than a message is retried. What is broken then stays broken
/// without outside help.
const HORIZON_MS: u64 = 3 * 3_600_000;

/// Something that happens to an installation, run to its end.
#[derive(Clone, Copy)]
pub struct Case {
    /// Name in the report.
    pub name: &'static str,
    prepare: fn() -> LocalBoxFuture<'static, Lab>,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    /// A scenario of the fault matrix: it begins, may be swept, and settles.
    Scenario { begin: for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, ()>, sweep: bool },
    /// A case of its own, which may add lines to the end state.
    Own(for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, Outcome>),
}

/// Further lines of the end state, or the error of a function.
type Outcome = Result<Vec<String>, enroller_lab::LabError>;

/// The result of a case.
#[derive(Debug)]
pub struct Run {
    /// The end state as lines of text, without ids and times of managed resources.
    pub end: Vec<String>,
    /// Permissions that were used.
    pub uses: BTreeSet<Use>,
    /// Requests that no policy allowed.
    pub denials: BTreeSet<Denial>,
}

/// The scenarios of the fault matrix, and the cases that only the permission contract needs.
pub fn all() -> Vec<Case> {
    let scenarios = SCENARIOS.iter().map(|scenario| Case {
        name: scenario.name,
        prepare: scenario.prepare,
        act: Act::Scenario { begin: scenario.begin, sweep: scenario.sweep },
    });
    scenarios.chain(CASES.iter().copied()).collect()
}

/// Everything that the roles of the templates allow in any variant. The key is role, policy and statement, and the
/// value the actions and the number of resources.
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

/// One statement of a role: role, policy and statement name, then its actions and the number of its resources.
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

/// Runs a case with the roles of the templates, or with one permission withheld from the beginning of the case. The
/// preparation has all permissions.
///
/// # Panics
///
/// The case itself cannot be prepared.
pub async fn run(case: &Case, withheld: Option<&Withheld>) -> Run {
    let mut lab = (case.prepare)().await;
    if case.name != cases::DOCTOR {
        // Without an operator, the member role allows only what the functions need.
        lab.stacks = lab.stacks.clone().operated_by("");
    }
    // The roles are written again in either case, so that both runs draw the same ids.
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
    let outcome = match case.act {
        Act::Own(act) => act(&mut lab).await,
        Act::Scenario { begin, sweep } => {
            begin(&mut lab).await;
            sweep_and_settle(&lab, sweep).await
        }
    };
    let mut end = outcome.unwrap_or_else(|error| vec![format!("failed: {error:?}")]);
    end.extend(end_state(&lab));
    let (uses, denials) = lab.sim.with(|world| (world.iam.uses(), world.iam.denials()));
    Run { end, uses, denials }
}

/// Sweeps on request, then runs the functions until nothing is left to do.
async fn sweep_and_settle(lab: &Lab, sweep: bool) -> Outcome {
    if sweep {
        lab.sweep(json!({ "reason": "test" })).await?;
    }
    lab.settle(HORIZON_MS).await?;
    Ok(Vec::new())
}

fn end_state(lab: &Lab) -> Vec<String> {
    let mut lines = managed(lab);
    // The roles of the stacks differ by design, because a permission is withheld.
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
