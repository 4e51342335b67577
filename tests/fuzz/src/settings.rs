//! Settings, as lines of `key=value`.
//!
//! What must hold: no values make the reader panic. What is refused is refused with a setting's name. What is accepted
//! can be used: an event's context, role ARNs, keys and shard names follow from it, and it reads the same again.

use std::collections::BTreeMap;

use enroller_core::event::EventContext;
use enroller_core::grants::ShardNaming;
use enroller_core::settings::{KEYS, Settings};

/// Reads the bytes as settings.
///
/// # Panics
///
/// When a promise is broken. Neither a file nor the environment of a function holds bytes that are no Unicode.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let read = || Settings::from_lookup(|key| values.get(key).map(|value| (*value).to_owned()));
    match read() {
        Ok(settings) => {
            assert_eq!(read().as_ref(), Ok(&settings));
            usable(&settings);
        }
        Err(error) => {
            assert!(!error.0.is_empty());
            for problem in &error.0 {
                assert!(KEYS.iter().any(|(key, ..)| *key == problem.key), "{problem:?}");
                assert!(!problem.expected.is_empty());
            }
            let told = error.to_string();
            assert!(error.0.iter().all(|problem| told.contains(problem.key)));
        }
    }
}

fn usable(settings: &Settings) {
    assert!(!settings.regions.is_empty());
    assert!(EventContext::from_settings(settings).organization.is_some());
    let account = settings.central_account;
    assert_eq!(settings.delivery_role(account).account(), Some(account));
    if let Some(role) = settings.filter_role(account) {
        assert_eq!(role.account(), Some(account));
    }
    for region in &settings.regions {
        assert_eq!(region.partition(), settings.home_region.partition());
        if let Some(key) = &settings.kms_key_arn {
            let arn: enroller_core::arn::Arn = key.arn(region, account).parse().expect("checked for every Region");
            assert_eq!(arn.region(), Some(region));
        }
    }
    assert!(ShardNaming::new(settings.destination_name.base().clone()).is_ok(), "no shard could be named");
}
