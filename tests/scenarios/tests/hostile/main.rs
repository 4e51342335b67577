//! Hostile input against a whole installation. A forged, damaged or edited message is refused or ignored with a reason
//! that names what is wrong. It changes nothing in any account, is not retried forever, and delays no other message.
//!
//! Most cases put their message directly on a queue, which an outsider cannot do. The queues' policies admit the
//! installation's own rules by ARN (`EnrollmentsPolicy`, `GrantsPolicy` and `BackfillPolicy` in `infra/central.yaml`),
//! and identity policies admit the functions' roles. The bus accepts only events of the organization, and EventBridge
//! lets only AWS send a source that begins with `aws.`. These cases show what still holds when one of those barriers is
//! gone.

#![cfg(test)]

mod bodies;
mod clocks;
mod events;
mod forged;
mod harness;
mod membership;
mod policies;
