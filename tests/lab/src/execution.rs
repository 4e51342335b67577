//! What Lambda itself does with a function's role: it polls the queue, deletes handled messages, and writes the
//! function's log.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use enroller_core::settings::Settings;
use enroller_sim::Sim;

use crate::install::{BACKFILL, ENROLLMENTS, FUNCTION_ROLES, GRANTS, PREFIX};

/// Queue and function of each event source mapping.
const MAPPINGS: [(&str, &str); 3] =
    [(ENROLLMENTS, "vpc-enroller"), (GRANTS, "account-onboarder"), (BACKFILL, "backfill")];

pub(crate) struct Execution {
    central: String,
    home: String,
    logged: Mutex<BTreeSet<&'static str>>,
}

impl Execution {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (central, home) = (settings.central_account.to_string(), settings.home_region.to_string());
        Self { central, home, logged: Mutex::default() }
    }

    pub(crate) fn queue_arn(&self, queue: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{PREFIX}{queue}", self.home, self.central)
    }

    /// Whether Lambda may poll the queue. It needs these permissions when the mapping is created and at every poll
    /// (Lambda developer guide, "Using Lambda with Amazon SQS", execution role permissions).
    pub(crate) fn may_poll(&self, sim: &Sim, queue: &str) -> bool {
        self.may(sim, function_of(queue), &["sqs:ReceiveMessage", "sqs:GetQueueAttributes"], &self.queue_arn(queue))
    }

    /// Whether Lambda may delete messages. Without the permission, handled messages are redelivered.
    pub(crate) fn may_delete(&self, sim: &Sim, queue: &str) -> bool {
        self.may(sim, function_of(queue), &["sqs:DeleteMessage"], &self.queue_arn(queue))
    }

    /// Records an invocation in the function's log, if the role allows it.
    pub(crate) fn log(&self, sim: &Sim, function: &'static str) {
        let (home, central) = (&self.home, &self.central);
        let group = format!("arn:aws:logs:{home}:{central}:log-group:/aws/lambda/{PREFIX}{function}");
        let stream = format!("{group}:log-stream:2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef");
        if self.may(sim, function, &["logs:CreateLogStream", "logs:PutLogEvents"], &stream) {
            self.logged.lock().unwrap_or_else(PoisonError::into_inner).insert(function);
        }
    }

    pub(crate) fn logged(&self) -> Vec<&'static str> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn may(&self, sim: &Sim, function: &str, actions: &[&str], resource: &str) -> bool {
        let role = FUNCTION_ROLES.iter().find(|(name, _)| *name == function).map_or("", |(_, role)| role);
        let source = format!("arn:aws:lambda:{}:{}:function:{PREFIX}{function}", self.home, self.central);
        sim.with(|world| world.service_may("lambda.amazonaws.com", (&self.central, role), &source, actions, resource))
    }
}

fn function_of(queue: &str) -> &'static str {
    MAPPINGS.iter().find(|(name, _)| *name == queue).map_or("", |(_, function)| function)
}
