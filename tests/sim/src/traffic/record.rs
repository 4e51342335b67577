//! Flow log records as text, and the filter patterns that select them.

/// A record in a flow log's own format (VPC user guide, "Flow log records"); fields that need what is not simulated are
/// `-`, as AWS writes what does not apply.
pub(super) fn line(format: &str, account: &str, region: &str, vpc_id: &str, action: &str, now_ms: u64) -> String {
    let suffix = vpc_id.strip_prefix("vpc-").unwrap_or(vpc_id);
    let (start, end) = (now_ms / 1_000, now_ms / 1_000 + 59);
    let version = if format.contains("${vpc-id}") || format.contains("${region}") { "5" } else { "2" };
    let value = |field: &str| match field {
        "version" => version.to_owned(),
        "account-id" => account.to_owned(),
        "interface-id" => format!("eni-{suffix}"),
        "srcaddr" | "pkt-srcaddr" => "10.0.1.10".to_owned(),
        "dstaddr" | "pkt-dstaddr" => "198.51.100.20".to_owned(),
        "srcport" => "49152".to_owned(),
        "dstport" => "443".to_owned(),
        "protocol" => "6".to_owned(),
        "packets" => "12".to_owned(),
        "bytes" => "3456".to_owned(),
        "start" => start.to_string(),
        "end" => end.to_string(),
        "action" => action.to_owned(),
        "log-status" => "OK".to_owned(),
        "vpc-id" => vpc_id.to_owned(),
        "subnet-id" => format!("subnet-{suffix}"),
        "instance-id" => format!("i-{suffix}"),
        "tcp-flags" => "3".to_owned(),
        "type" => "IPv4".to_owned(),
        "region" => region.to_owned(),
        "flow-direction" => "egress".to_owned(),
        "traffic-path" => "8".to_owned(),
        "resource-id" => vpc_id.to_owned(),
        _ => "-".to_owned(),
    };
    let fields = format.split_whitespace().map(|word| value(word.trim_start_matches("${").trim_end_matches('}')));
    fields.collect::<Vec<_>>().join(" ")
}

/// Whether a filter pattern matches a line (CloudWatch Logs user guide, "Filter pattern syntax"): empty for everything,
/// `[a, b, c=value, ...]` for space-delimited fields with `=` and `!=`, otherwise terms, with `-` for excluded and `?`
/// for optional ones. A JSON pattern matches no flow log record.
pub(super) fn pattern_matches(pattern: &str, line: &str) -> bool {
    let pattern = pattern.trim();
    if let Some(fields) = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return fields_match(fields, line);
    }
    if pattern.starts_with('{') {
        return false;
    }
    let (mut optional, mut optional_found) = (false, false);
    for term in pattern.split_whitespace() {
        let bare = |term: &str| term.trim_matches('"').to_owned();
        if let Some(term) = term.strip_prefix('?') {
            optional = true;
            optional_found |= line.contains(&bare(term));
        } else if let Some(term) = term.strip_prefix('-') {
            if line.contains(&bare(term)) {
                return false;
            }
        } else if !line.contains(&bare(term)) {
            return false;
        }
    }
    optional_found || !optional
}

fn fields_match(fields: &str, line: &str) -> bool {
    let fields: Vec<&str> = fields.split(',').map(str::trim).collect();
    let words: Vec<&str> = line.split(' ').collect();
    let (before, after) = match fields.iter().position(|field| *field == "...") {
        None if fields.len() != words.len() => return false,
        None => (fields.as_slice(), &[][..]),
        Some(at) => (&fields[..at], &fields[at + 1..]),
    };
    if before.len() + after.len() > words.len() {
        return false;
    }
    let tail = &words[words.len() - after.len()..];
    before.iter().zip(&words).chain(after.iter().zip(tail)).all(|(field, word)| field_matches(field, word))
}

fn field_matches(field: &str, word: &str) -> bool {
    let wanted = |value: &str| crate::policy_language::glob(value.trim().trim_matches('"'), word);
    match (field.split_once("!="), field.split_once('=')) {
        (Some((_, value)), _) => !wanted(value),
        (None, Some((_, value))) => wanted(value),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} \
                           ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

    #[test]
    fn a_line_has_one_word_per_field_of_the_format() {
        let default = line(DEFAULT, "111122223333", "eu-west-1", "vpc-0123456789abcdef0", "ACCEPT", 1_000_000);
        let expected = "2 111122223333 eni-0123456789abcdef0 10.0.1.10 198.51.100.20 49152 443 6 12 3456 1000 1059 \
                        ACCEPT OK";
        assert_eq!(default, expected);
        let custom = line("${region} ${vpc-id} ${ecs-task-id}", "1", "eu-west-1", "vpc-1", "ACCEPT", 0);
        assert_eq!(custom, "eu-west-1 vpc-1 -");
    }

    #[test]
    fn patterns_take_what_the_user_guide_says() {
        let line = "2 111122223333 eni-1 10.0.1.10 198.51.100.20 49152 443 6 12 3456 1 2 ACCEPT OK";
        for (pattern, expected) in [
            ("", true),
            (" ", true),
            ("ACCEPT", true),
            ("ACCEPT OK", true),
            ("REJECT", false),
            ("-REJECT", true),
            ("-ACCEPT", false),
            ("?REJECT ?ACCEPT", true),
            ("?REJECT ?NODATA", false),
            ("\"ACCEPT\"", true),
            ("[a, b, c, d, e, f, g, h, i, j, k, l, action=ACCEPT, n]", true),
            ("[a, b, c, d, e, f, g, h, i, j, k, l, action=REJECT, n]", false),
            ("[a, b, c, d, e, f, g, h, i, j, k, l, action!=\"REJECT\", n]", true),
            ("[a, b]", false),
            ("[version, ..., action=\"ACC*\", status]", true),
            ("{ $.action = \"ACCEPT\" }", false),
        ] {
            assert_eq!(pattern_matches(pattern, line), expected, "{pattern}");
        }
    }
}
