//! Which filter patterns CloudWatch Logs can read (user guide, "Filter pattern syntax"). Texts: field reports of
//! infrastructure tools; where none is known, "Invalid filter pattern".

/// What is wrong with a pattern, as the message of the refusal.
pub(super) fn problem_of(pattern: &str) -> Option<String> {
    let pattern = pattern.trim();
    let invalid = || Some("Invalid filter pattern".to_owned());
    for (open, close) in [('{', '}'), ('[', ']')] {
        let Some(rest) = pattern.strip_prefix(open) else { continue };
        return match rest.strip_suffix(close) {
            None => Some(format!("If a filter pattern starts with '{open}' it must end with '{close}'")),
            Some(inside) if open == '{' && reads_as_json(inside) || open == '[' && reads_as_fields(inside) => None,
            Some(_) => invalid(),
        };
    }
    if pattern.matches('"').count() % 2 == 1 {
        return invalid();
    }
    // Text between quotes is free, and so is a regular expression between percent signs.
    let unquoted: String = pattern.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    if unquoted.trim_start_matches('-').starts_with('%') {
        return None;
    }
    let bad = |term: &&str| {
        let bare = term.trim_start_matches(['-', '?']);
        !bare.chars().all(|character| character.is_alphanumeric() || character == '_')
    };
    unquoted.split_whitespace().find(bad).map(|term| format!("Invalid character(s) in term '{term}'"))
}

fn reads_as_json(inside: &str) -> bool {
    let operators = ["=", ">", "<", " IS ", " NOT EXISTS"];
    inside.matches('"').count().is_multiple_of(2)
        && inside.contains("$.") | inside.contains("$[")
        && operators.iter().any(|operator| inside.contains(operator))
}

/// Fields with names, `...` once, and conditions that name their own field.
fn reads_as_fields(inside: &str) -> bool {
    let fields: Vec<&str> = inside.split(',').map(str::trim).collect();
    let named = |field: &&str| {
        let name: String =
            field.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
        let rest = field[name.len()..].trim_start();
        !name.is_empty() && (rest.is_empty() || rest.starts_with(['=', '!', '<', '>']))
    };
    let (gaps, others): (Vec<&str>, Vec<&str>) = fields.into_iter().partition(|field| *field == "...");
    gaps.len() <= 1 && others.iter().all(named) && inside.matches('"').count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_user_guide_can_be_read() {
        for pattern in [
            "",
            "ERROR",
            "?ERROR -warn",
            "\"a-b c\" d",
            "%AUTHORIZED%",
            "{ $.errorCode = \"400\" }",
            "[version, account, ..., action=REJECT, status]",
            "[w1=ERROR || w1=%WARN%, w2]",
            "[ip, bytes > 1000]",
        ] {
            assert_eq!(problem_of(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_told_with_the_reason() {
        for (pattern, reason) in [
            ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
            ("[a, b", "If a filter pattern starts with '[' it must end with ']'"),
            ("a-b", "Invalid character(s) in term 'a-b'"),
            ("\"open", "Invalid filter pattern"),
            ("[]", "Invalid filter pattern"),
            ("[a,,b]", "Invalid filter pattern"),
            ("[..., a, ...]", "Invalid filter pattern"),
            ("{}", "Invalid filter pattern"),
            ("{ a = 1 }", "Invalid filter pattern"),
        ] {
            assert_eq!(problem_of(pattern).as_deref(), Some(reason), "{pattern}");
        }
    }
}
