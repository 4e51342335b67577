//! Patterns of the models, which are Java's.

use regex::Regex;

/// The pattern for the whole value; `None` for one that needs what this engine has not, such as looking ahead.
pub(super) fn compile(written: &str) -> Option<Regex> {
    let mut converted = String::from(r"\A(?:");
    let (mut rest, mut in_class) = (written.chars().peekable(), false);
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                // Java's classes are of ASCII.
                Some('w') => converted.push_str(if in_class { "A-Za-z0-9_" } else { "[A-Za-z0-9_]" }),
                Some('d') => converted.push_str(if in_class { "0-9" } else { "[0-9]" }),
                Some('u') => {
                    let mut digits = String::new();
                    while let Some(digit) = rest.next_if(|next| digits.len() < 6 && next.is_ascii_hexdigit()) {
                        digits.push(digit);
                    }
                    converted.push_str(&format!("\\x{{{digits}}}"));
                }
                Some(other) => converted.extend(['\\', other]),
                None => return None,
            },
            // A bracket inside a class is a character in Java's models, and begins a class of its own here.
            '[' if in_class => converted.push_str("\\["),
            '[' | ']' => {
                in_class = character == '[';
                converted.push(character);
            }
            other => converted.push(other),
        }
    }
    converted.push_str(r")\z");
    Regex::new(&converted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_for_the_whole_value_and_its_classes_are_of_ascii() {
        let matches = |pattern: &str, text: &str| compile(pattern).unwrap().is_match(text);
        assert!(matches(r"[\w+=,.@-]+", "a-b_c"));
        assert!(!matches(r"[\w+=,.@-]+", "a b") && !matches(r"[\w+=,.@-]+", "é"));
        assert!(matches(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "é 1") && !matches(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "a!"));
        assert!(matches(r"[\u0009\u000A\u000D\u0020-\u00FF]+", "\té") && !matches(r"[\u0020-\u00FF]+", "\u{100}"));
        assert!(matches(r"^(\d{12})|(ou-[0-9a-z]{4,32})$", "111122223333"));
        assert!(compile(r"^(?!\s*$).+").is_none());
    }
}
