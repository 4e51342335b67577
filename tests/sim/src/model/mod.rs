//! AWS's own service models, as botocore has them: what an operation takes, answers and refuses with.
//!
//! The files in `models/` are trimmed to the operations that are simulated.

mod answer;
mod errors;
mod input;
mod pattern;
mod read;
mod validate;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;

pub(crate) use self::answer::check as check_answer;
pub use self::errors::errors_of;
pub(crate) use self::errors::names_error;
pub(crate) use self::input::check as check_input;
use crate::call::Service;

/// The model of a service.
#[derive(Debug)]
pub(crate) struct Model {
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

/// An operation: names of shapes.
#[derive(Debug)]
struct Operation {
    input: Option<String>,
    output: Option<String>,
    errors: Vec<String>,
}

/// A type with its constraints.
#[derive(Debug)]
struct Shape {
    kind: Kind,
    /// Smallest number, or length.
    min: Option<u64>,
    /// Largest number, or length.
    max: Option<u64>,
    /// As AWS writes it, and compiled where that is possible.
    pattern: Option<(String, Option<Regex>)>,
    choices: Vec<String>,
    /// Code and HTTP status of an error.
    error: (Option<String>, Option<u16>),
}

#[derive(Debug)]
enum Kind {
    Structure { members: BTreeMap<String, Member>, required: Vec<String> },
    List { member: Member, flattened: bool },
    Map { key: Member, value: Member },
    Text,
    Blob,
    Number,
    Flag,
    Time,
}

/// A member of a structure, list or map.
#[derive(Debug)]
struct Member {
    shape: String,
    location_name: Option<String>,
    query_name: Option<String>,
}

/// The text of each model, in the order of [`Service::ALL`].
const TEXTS: [&str; Service::ALL.len()] = [
    include_str!("../../models/ec2.json"),
    include_str!("../../models/logs.json"),
    include_str!("../../models/sts.json"),
    include_str!("../../models/iam.json"),
    include_str!("../../models/organizations.json"),
    include_str!("../../models/sqs.json"),
    include_str!("../../models/events.json"),
    include_str!("../../models/cloudtrail.json"),
];

impl Model {
    /// The model of a service, read once. An unreadable file is an empty model, which a test rules out.
    fn of(service: Service) -> &'static Self {
        static MODELS: [OnceLock<Model>; Service::ALL.len()] = [const { OnceLock::new() }; Service::ALL.len()];
        let number = Service::ALL.iter().position(|known| *known == service).unwrap_or_default();
        MODELS[number].get_or_init(|| read::model(TEXTS[number]))
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod violations;
