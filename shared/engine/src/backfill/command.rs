//! The command that the function `backfill` is invoked with, from a queue, a schedule or a direct call.

use enroller_core::backfill::{BackfillRequest, RequestError};
use enroller_core::event::is_schedule;
use enroller_core::message::{BackfillContinuation, Message, MessageError};
use enroller_core::settings::Settings;
use serde_json::Value;

/// The reason in requests of a scheduled run.
const SWEEP: &str = "scheduled sweep";

/// A run to start or to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillCommand {
    /// A new run.
    Begin {
        /// The request.
        request: BackfillRequest,
        /// The run id. A command that is delivered again has the same one.
        run_id: String,
    },
    /// The continuation of a run whose time ran out.
    Continue(BackfillContinuation),
}

/// Why a body is not a command. Sending it again does not help.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The body is not JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body claims to be a message of the product, but cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The body is a message for another function.
    #[error("the message is for another function: backfill accepts only backfill-requests and bare requests")]
    Misplaced,
    /// The body is an event of this source, but not a scheduled event.
    #[error("an event from {0:?} is not a scheduled event; send only scheduled events to backfill")]
    NoSchedule(String),
    /// The body is an invalid request.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl BackfillCommand {
    /// Reads a body: a request, a scheduled event, null (everything) or a continuation. A new run gets the id `id`.
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn read(body: &str, id: &str, settings: &Settings) -> Result<Self, CommandError> {
        let value: Value = serde_json::from_str(body).map_err(CommandError::NotJson)?;
        if Message::claims(&value) {
            return match Message::from_value(&value)? {
                Message::Backfill(continuation) => Ok(Self::Continue(continuation)),
                Message::Enrollment(_) | Message::Grant(_) | Message::Sync(_) => Err(CommandError::Misplaced),
            };
        }
        let request = if value.is_null() {
            BackfillRequest::default()
        } else if is_schedule(&value) {
            BackfillRequest { reason: SWEEP.to_owned(), ..BackfillRequest::default() }
        } else if value.get("detail-type").is_some() {
            let source = value.get("source").and_then(Value::as_str).unwrap_or_default();
            return Err(CommandError::NoSchedule(source.chars().take(80).collect()));
        } else {
            BackfillRequest::read(&value, settings)?
        };
        Ok(Self::Begin { request, run_id: id.to_owned() })
    }

    /// The request of the run.
    pub fn request(&self) -> &BackfillRequest {
        match self {
            Self::Begin { request, .. } => request,
            Self::Continue(continuation) => &continuation.request,
        }
    }

    /// The id of the run, which marks its requests in logs.
    pub fn run_id(&self) -> &str {
        match self {
            Self::Begin { run_id, .. } => run_id,
            Self::Continue(continuation) => &continuation.run_id,
        }
    }
}
