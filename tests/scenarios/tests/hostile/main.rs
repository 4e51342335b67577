//! Hostile input against a whole installation: what somebody forges, damages or edits is refused or passed over with a
//! reason that names what is wrong, changes nothing in any account, is never tried for ever, and holds nobody up.
//!
//! Most cases put their message straight on a queue, which is more than a stranger can do. The queues' policies let in
//! the installation's own rules by ARN (`EnrollmentsPolicy`, `GrantsPolicy` and `BackfillPolicy` in
//! `infra/central.yaml`), and identity policies the functions' roles; the bus takes events of the organization alone,
//! and EventBridge lets nobody but AWS send a source that begins with `aws.`. So these cases ask what is left when one
//! of those walls is gone.

#![cfg(test)]

mod bodies;
mod clocks;
mod events;
mod forged;
mod harness;
mod membership;
mod policies;
