//! Which filter patterns CloudWatch Logs can parse, and which of them can match a flow log record.
//!
//! PutSubscriptionFilter refuses a pattern that it cannot parse. A pattern that it accepts and that matches no record
//! is worse: everything looks right and nothing is delivered.
//!
//! Source: CloudWatch Logs user guide, "Filter pattern syntax". What it does not say is accepted here.

/// CloudWatch Logs model, `FilterPattern`.
const LONGEST: usize = 1024;
/// User guide, "Using filter patterns to match terms with a regular expression".
const REGULAR_EXPRESSIONS: usize = 2;

/// The pattern; the error is what is expected. `fields` is how many fields a record has.
pub(super) fn read(text: &str) -> Result<String, String> {
    if text.chars().count() > LONGEST {
        return Err(format!("up to {LONGEST} characters"));
    }
    match text.chars().next() {
        Some('{') => Err("a pattern of terms or of [fields]: a JSON pattern matches no flow log record".to_owned()),
        Some('[') => fields(text).map(|_| text.to_owned()),
        _ => terms(text).map(|()| text.to_owned()),
    }
}

/// The expected number of fields, if a record with this many can never match the pattern.
pub(super) fn never_matches(pattern: &str, of_format: usize) -> Option<String> {
    let fields = fields(pattern).ok()?;
    let rest = fields.iter().any(|field| field.trim() == "...");
    let named = fields.len() - usize::from(rest);
    match rest {
        true if named > of_format => Some(format!("at most {of_format} fields, as log_format has, not {named}")),
        false if named != of_format => {
            Some(format!("{of_format} fields, as log_format has, not {named}, or ... in the place of the others"))
        }
        _ => None,
    }
}

/// The fields of `[a, b = 5, ...]`.
fn fields(text: &str) -> Result<Vec<&str>, String> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inside = inside.ok_or("a pattern of fields that ends with ]")?;
    let mut found = Vec::new();
    let (mut start, mut depth, mut quote, mut regular_expressions) = (0, 0_usize, None, 0);
    let mut escaped = false;
    for (at, character) in inside.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote.is_some() => escaped = true,
            _ if quote == Some(character) => quote = None,
            _ if quote.is_some() => {}
            '"' => quote = Some('"'),
            '%' => {
                quote = Some('%');
                regular_expressions += 1;
            }
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("as many ( as ) in the pattern")?,
            ',' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inside[start..]);
    finished(quote, regular_expressions)?;
    if depth > 0 {
        return Err("as many ( as ) in the pattern".to_owned());
    }
    if found.iter().any(|field| field.trim().is_empty()) {
        return Err("a name for each field of the pattern".to_owned());
    }
    if found.iter().filter(|field| field.trim() == "...").count() > 1 {
        return Err("... once in the pattern".to_owned());
    }
    Ok(found)
}

/// Terms such as `ACCEPT`, `-NODATA`, `?"eni-1"` and `%10\.0\..*%`.
fn terms(text: &str) -> Result<(), String> {
    let mut rest = text.trim_start();
    let mut regular_expressions = 0;
    while !rest.is_empty() {
        let term = rest.strip_prefix(['-', '?']).unwrap_or(rest);
        rest = match term.chars().next() {
            Some('"') => quoted(&term[1..], '"')?,
            Some('%') => {
                regular_expressions += 1;
                quoted(&term[1..], '%')?
            }
            _ => {
                let end = term.find(char::is_whitespace).unwrap_or(term.len());
                let (word, after) = term.split_at(end);
                if word.is_empty() || !word.chars().all(|character| character.is_alphanumeric() || character == '_') {
                    let word: String = word.chars().take(80).collect();
                    return Err(format!(
                        "terms with other characters than letters, digits and _ in double quotes, not {word}"
                    ));
                }
                after
            }
        }
        .trim_start();
    }
    finished(None, regular_expressions)
}

/// What follows the closing quote.
fn quoted(text: &str, quote: char) -> Result<&str, String> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Ok(&text[at + character.len_utf8()..]),
            _ => {}
        }
    }
    finished(Some(quote), 0).map(|()| "")
}

fn finished(open: Option<char>, regular_expressions: usize) -> Result<(), String> {
    match open {
        Some('%') => Err("a % at the end of the regular expression".to_owned()),
        Some(_) => Err("a closing double quote in the pattern".to_owned()),
        None if regular_expressions > REGULAR_EXPRESSIONS => {
            Err(format!("at most {REGULAR_EXPRESSIONS} regular expressions in the pattern"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_of_the_user_guide_are_accepted() {
        for pattern in [
            "",
            "ACCEPT",
            "REJECT OK",
            "\"ACCEPT OK\"",
            "?REJECT ?SKIPDATA",
            "ERROR -EXITING",
            "-NODATA -\"log, status\"",
            "\"a \\\" quote\" x",
            "%10\\.0\\.[0-9]+%",
            "REJECT %tcp|udp%",
            "[version, account, ..., action = REJECT, status]",
            "[..., size, status_code]",
            "[ip=%127\\.0\\.0\\.[1-9]%, user, ...]",
            "[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes > 1000]",
            "[w1=ERROR, (w2 = \"a,b\" || w2=x) && w3 != y]",
            "[...]",
        ] {
            assert_eq!(read(pattern), Ok(pattern.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_parsed_are_refused_with_what_is_missing() {
        for (pattern, expected) in [
            ("\"ACCEPT", "closing double quote"),
            ("-\"ACCEPT OK", "closing double quote"),
            ("\"ends with \\\"", "closing double quote"),
            ("%10.0", "a % at the end"),
            ("[a, b = %x]", "a % at the end"),
            ("[a, b", "ends with ]"),
            ("[a, b] c", "ends with ]"),
            ("[a, b = \"x]", "closing double quote"),
            ("[a, (b = 1]", "as many ( as )"),
            ("[a, b = 1)]", "as many ( as )"),
            ("[a, , b]", "a name for each field"),
            ("[]", "a name for each field"),
            ("[..., a, ...]", "... once"),
            ("eni-0123", "in double quotes, not eni-0123"),
            ("10.0.0.1", "in double quotes, not 10.0.0.1"),
            ("- x", "in double quotes"),
            ("%a% %b% %c%", "at most 2 regular expressions"),
            ("{ $.action = \"REJECT\" }", "a JSON pattern matches no flow log record"),
            ("{", "a JSON pattern"),
        ] {
            let told = read(pattern).unwrap_err();
            assert!(told.contains(expected), "{pattern}: {told}");
        }
        assert!(read(&"p".repeat(1024)).is_ok() && read(&"p".repeat(1025)).is_err());
    }

    #[test]
    fn a_pattern_with_another_number_of_fields_than_the_format_never_matches() {
        for (pattern, fields, expected) in [
            ("[a, b, c]", 3, None),
            ("[a, b]", 3, Some("3 fields, as log_format has, not 2, or ... in the place of the others")),
            ("[a, b, c, d]", 3, Some("3 fields, as log_format has, not 4, or ... in the place of the others")),
            ("[a, ...]", 3, None),
            ("[a, b, c, ...]", 3, None),
            ("[a, ..., b, c, d]", 3, Some("at most 3 fields, as log_format has, not 4")),
            ("ACCEPT", 3, None),
            ("", 3, None),
        ] {
            assert_eq!(never_matches(pattern, fields).as_deref(), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-?\"%\\[\\]{}()., a\\\\=ä]{0,40}") {
            let json = text.starts_with('{');
            prop_assert!(read(&text).is_err() || !json);
            never_matches(&text, 3);
        }
    }
}
