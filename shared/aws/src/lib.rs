//! The engine's ports on the AWS SDK.
//!
//! | you look for | it is in |
//! |---|---|
//! | how a process connects to AWS: endpoints, retries, timeouts, one HTTP client | [`Connection`] |
//! | how every call is made: credentials, rate limit, client, error | `calls` |
//! | AssumeRole, once per account | `credentials` |
//! | how a person's command signs in: profiles, SSO, proxies, trusted certificates (feature `operator`) | `sign_in` |
//! | AWS's documented rates | `limits` |
//! | from the SDK's errors to error codes | `errors` |
//! | the ports | `ec2`, `logs`, `roles`, `destinations`, `organization`, `queues` |
//! | invoking the deployed functions and watching their queues | [`Deployed`] |
//! | what only the doctor reads | `doctor` |
//! | log entries and metrics on standard output | [`JsonLog`] |
//!
//! Nothing here makes decisions: what an error means is in `enroller_core::error`.

mod calls;
mod clock;
mod connection;
mod credentials;
mod destinations;
mod doctor;
mod ec2;
mod errors;
mod functions;
mod limits;
mod log;
mod logs;
mod organization;
mod queues;
mod roles;
#[cfg(feature = "operator")]
mod sign_in;
#[cfg(test)]
mod testing;

pub use clock::Time;
pub use connection::Connection;
pub use functions::Deployed;
pub use limits::RateLimits;
pub use log::JsonLog;
#[cfg(feature = "operator")]
pub use sign_in::{CredentialSource, SignInError};
