//! What a person can do next. The engine's sentences are about a message that comes back by itself. A command has none: who
//! wants another try has to run it again.

use enroller_core::error::Disposition;
use enroller_core::log::{LogEntry, Outcome};

/// The next step for an error.
pub(crate) fn of_disposition(disposition: Disposition) -> String {
    let text = disposition.next_step();
    if disposition.is_retryable() { by_hand(text) } else { text.to_owned() }
}

/// The next step in a log entry, if it has one.
pub(crate) fn of_entry(entry: &LogEntry) -> Option<String> {
    let text = entry.next_step.as_deref()?;
    Some(if entry.outcome == Outcome::RetryLater { by_hand(text) } else { text.to_owned() })
}

/// A sentence about something that is tried again, for a person who does that.
fn by_hand(text: &str) -> String {
    let parts: Vec<&str> = text.split(';').map(str::trim).filter(|part| !part.starts_with("retried")).collect();
    let text = parts.join("; ");
    match text.split_once(": ") {
        Some(("no action needed", _)) => "run the command again".to_owned(),
        Some(("no action yet", why)) => format!("run the command again in a minute: {why}"),
        _ if text.contains("run the command again") => text,
        _ => format!("{text}, then run the command again"),
    }
}

#[cfg(test)]
mod tests {
    use enroller_core::error::Wait;

    use super::*;

    #[test]
    fn nothing_is_said_to_be_retried_by_itself() {
        let waits = [
            Wait::MemberRole,
            Wait::Account,
            Wait::Credentials,
            Wait::Clock,
            Wait::Grant,
            Wait::RolePropagation,
            Wait::Vpc,
        ];
        for disposition in waits.map(Disposition::RetryLater).into_iter().chain([Disposition::RetrySoon]) {
            let text = of_disposition(disposition);
            assert!(text.contains("run the command again") && !text.contains("retried"), "{text}");
            assert!(!text.contains("no action"), "{text}");
        }
        let step = of_disposition(Disposition::RetryLater(Wait::MemberRole));
        assert!(step.starts_with("deploy the member stack to this account (StackSet), or update it"), "{step}");
        assert!(step.ends_with(", then run the command again"), "{step}");
        assert_eq!(of_disposition(Disposition::Terminal("remove it")), "remove it");
    }
}
