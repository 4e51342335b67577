//! What fuzzing found worth keeping, replayed: the promises that `tests/fuzz/` states hold for its whole corpus.

#[cfg(test)]
#[expect(unreachable_pub, reason = "the fuzz targets use it from outside")]
#[path = "../../../tests/fuzz/src/event.rs"]
mod event;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the fuzz targets use it from outside")]
#[path = "../../../tests/fuzz/src/pattern.rs"]
mod pattern;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the fuzz targets use it from outside")]
#[path = "../../../tests/fuzz/src/policy.rs"]
mod policy;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the fuzz targets use it from outside")]
#[path = "../../../tests/fuzz/src/settings.rs"]
mod settings;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs a target's check on each of its inputs; at least `least` must be there, so that a moved folder is noticed.
    fn replay(target: &str, least: usize, check: fn(&[u8])) {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
        let mut replayed = 0;
        for folder in ["seeds", "corpus"] {
            for entry in fuzz.join(folder).join(target).read_dir().unwrap() {
                let path = entry.unwrap().path();
                // Shown only when the check fails.
                println!("{}", path.display());
                check(&std::fs::read(&path).unwrap());
                replayed += 1;
            }
        }
        assert!(replayed >= least, "{replayed} inputs of {target}");
    }

    #[test]
    fn the_corpus_of_events_is_decided_as_promised() {
        replay("event", 45, super::event::check);
    }

    #[test]
    fn the_corpus_of_policies_is_kept_as_promised() {
        replay("policy", 20, super::policy::check);
    }

    #[test]
    fn the_corpus_of_settings_is_read_as_promised() {
        replay("settings", 6, super::settings::check);
    }

    #[test]
    fn the_corpus_of_patterns_is_matched_as_promised() {
        replay("pattern", 5, super::pattern::check);
    }
}
