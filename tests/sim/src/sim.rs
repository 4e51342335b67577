//! The handle that tests, the demo and the server share.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;

use crate::dispatch::{Answer, answer};
use crate::events;
use crate::faults::FaultRule;
use crate::http_client::SimHttpClient;
use crate::stats::CallRecord;
use crate::sts::long_term_key;
use crate::world::World;

/// Credentials for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the keys are the SDK's own")]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Session token, for a session only.
    pub session_token: Option<String>,
}

/// A simulated AWS. Clones share its state.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
}

/// Without the world: an SDK client shows its HTTP client in its own debug output.
impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").finish_non_exhaustive()
    }
}

impl Sim {
    /// A handle on a world.
    pub fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Reads or changes the world between calls. Calls and events wait until `f` returns, so `f` must not use the
    /// handle.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        // After a panic in a test's closure the world stays readable for other threads.
        f(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client for the SDK that reaches this simulated AWS in process.
    pub fn http_client(&self) -> SimHttpClient {
        SimHttpClient::new(self.clone())
    }

    /// Long-term credentials of an account, which may do everything in it. They exist for every account.
    pub fn credentials_of(&self, account: &str) -> Credentials {
        Credentials {
            access_key_id: long_term_key(account),
            secret_access_key: "simulated-secret-access-key".to_owned(),
            session_token: None,
        }
    }

    /// Credentials of a session of a role, valid for an hour and given without asking the role's trust policy: what a
    /// Lambda function has of its execution role. `None` when the role does not exist.
    pub fn role_session(&self, account: &str, role_name: &str, session_name: &str) -> Option<Credentials> {
        let (access_key_id, session) = self.with(|world| world.open_session(account, role_name, session_name, 3600))?;
        let session_token = Some(session.token);
        Some(Credentials { access_key_id, secret_access_key: session.secret, session_token })
    }

    /// Id of the management account.
    pub fn management(&self) -> String {
        self.with(|world| world.organization.management().to_owned())
    }

    /// The central account: the delegated administrator that the builder made.
    pub fn central(&self) -> String {
        self.with(|world| world.organization.delegated_administrators().next().unwrap_or_default().to_owned())
    }

    /// All accounts of the organization by id, the management and the central account included.
    pub fn members(&self) -> Vec<String> {
        self.with(|world| world.organization.members().map(|(id, _)| id.to_owned()).collect())
    }

    /// Now, in epoch milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.with(|world| world.now_ms())
    }

    /// Moves the clock, then delivers the events that are due.
    pub fn advance(&self, ms: u64) {
        self.with(|world| {
            world.advance_clock(ms);
            events::deliver_due(world);
        });
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.with(|world| world.stats.log().cloned().collect())
    }

    /// Arms a fault. Where several match the same call, the one armed first applies.
    pub fn arm(&self, rule: FaultRule) {
        self.with(|world| world.faults.arm(rule));
    }

    /// Answers one request after the configured latency.
    pub(crate) async fn answer(&self, parts: &Parts, body: &Bytes) -> Answer {
        let latency_ms = self.with(|world| {
            let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
            let listing = world.is_real_time() && target.is_some_and(|target| target.ends_with(".ListAccounts"));
            world.settings.latency_ms + if listing { world.settings.listing_page_ms } else { 0 }
        });
        if latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        let passes = self.with(|world| match world.settings.interleave {
            0 => 0,
            most => world.dice.u64(0..=most),
        });
        for _ in 0..passes {
            let_others_pass().await;
        }
        self.with(|world| answer(world, parts, body))
    }
}

/// Lets the other tasks of the runtime, and the other futures of this task, go on once. Unlike tokio's `yield_now` it
/// wakes its task at once, so that whoever polls the task sees that it does not wait for anything.
async fn let_others_pass() {
    let mut passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
