//! `enroller explain-event`: explains what the enroller would do with events, and why.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use enroller_core::event::{EventContext, explain};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use crate::args::ExplainEventArgs;
use crate::configuration::Configuration;
use crate::output::{self, Output, OutputError};

/// The exit code if some input could not be read or is not JSON. The rest was explained.
const INCOMPLETE: u8 = 2;

/// Explains every event of every file, and reports on standard error what could not be read.
pub(crate) fn run(args: &ExplainEventArgs) -> anyhow::Result<ExitCode> {
    let context = Configuration::load(&args.settings)?.event_context()?;
    let mut out = Output::stdout();
    let mut complete = true;
    for file in &args.files {
        let name = file.display().to_string();
        let problems = match read(file) {
            Ok(bytes) => explain_bytes(&name, &bytes, &context, &mut out)?,
            Err(source) => vec![InputError::Unreadable { name, source }],
        };
        complete &= problems.is_empty();
        out.flush()?;
        problems.iter().for_each(|problem| output::report(problem));
    }
    out.finish()?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Why some input was not explained.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("cannot read {name}")]
    Unreadable {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("{name} is empty: expected JSON")]
    Empty { name: String },
    #[error("{name} is compressed: decompress it with `gunzip -c {name} | enroller explain-event -`")]
    Compressed { name: String },
    #[error("{name}: line {line}, column {column}: not JSON: {what}")]
    NotJson { name: String, line: usize, column: usize, what: String },
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// Explains all documents in a file's bytes. Returns the problems with the others.
fn explain_bytes(
    name: &str,
    bytes: &[u8],
    context: &EventContext,
    out: &mut Output<impl Write>,
) -> Result<Vec<InputError>, OutputError> {
    if bytes.starts_with(b"\x1f\x8b") {
        return Ok(vec![InputError::Compressed { name: name.to_owned() }]);
    }
    let mut problems = Vec::new();
    let mut documents = Documents::new(bytes).peekable();
    if documents.peek().is_none() {
        problems.push(InputError::Empty { name: name.to_owned() });
    }
    for document in documents {
        match document {
            Ok(value) => explain(name, &value, context).iter().try_for_each(|line| out.json(line))?,
            Err(NotJson { line, column, what }) => {
                problems.push(InputError::NotJson { name: name.to_owned(), line, column, what });
            }
        }
    }
    Ok(problems)
}

/// Where a document stops being JSON, and why. Lines and columns (in bytes) count from 1.
#[derive(Debug, PartialEq, Eq)]
struct NotJson {
    line: usize,
    column: usize,
    what: String,
}

/// The JSON documents in a file's bytes, with or without line breaks between them.
///
/// After a broken document, reading continues at the next line that begins with `{` or `[`. A line before the position of
/// the error must also be a whole document by itself. This way one bad line among many costs only that line, and the
/// inside of a broken document that spans several lines is not taken for documents.
struct Documents<'a> {
    rest: &'a [u8],
    /// The position of the first byte of `rest`.
    at: Position,
}

/// A position in a text, counted from 0. The column is in bytes.
#[derive(Debug, Clone, Copy)]
struct Position {
    line: usize,
    column: usize,
}

impl<'a> Documents<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // Windows tools begin files with a byte order mark, which is not JSON.
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self { rest, at: Position { line: 0, column: 0 } }
    }

    /// The position in the whole text of the byte at `offset` in `rest`.
    fn position_of(&self, offset: usize) -> Position {
        let before = self.rest.get(..offset).unwrap_or(self.rest);
        let line = self.at.line + before.iter().filter(|byte| **byte == b'\n').count();
        match before.iter().rposition(|byte| *byte == b'\n') {
            Some(line_break) => Position { line, column: before.len() - line_break - 1 },
            None => Position { line, column: self.at.column + before.len() },
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.at = self.position_of(bytes);
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn problem(&self, offset: usize, what: &str) -> NotJson {
        let Position { line, column } = self.position_of(offset);
        NotJson { line: line + 1, column: column + 1, what: what.to_owned() }
    }

    /// Skips the broken document at the start of `rest`, and returns the problem.
    fn skip_broken(&mut self, error: &serde_json::Error) -> NotJson {
        let lines = || self.rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        // Lines and columns count from 1. Column 0 is the line break before the line.
        let error_line = std::iter::once(0).chain(lines()).nth(error.line().saturating_sub(1)).unwrap_or_default();
        let offset = (error_line + error.column()).saturating_sub(1);
        let next = lines().find(|&start| {
            matches!(self.rest.get(start), Some(b'{' | b'[')) && (start >= offset || self.is_whole_line(start))
        });
        let problem = match next {
            Some(start) if start <= offset => self.problem(start - 1, "the line ends inside a document"),
            _ => self.problem(offset, without_position(&error.to_string())),
        };
        self.skip(next.unwrap_or(self.rest.len()));
        problem
    }

    fn is_whole_line(&self, start: usize) -> bool {
        let line = self.rest.get(start..).unwrap_or_default().split(|byte| *byte == b'\n').next();
        line.is_some_and(|line| serde_json::from_slice::<IgnoredAny>(line).is_ok())
    }
}

/// A message of serde_json without its position, which is relative to where reading continued.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what)
}

impl Iterator for Documents<'_> {
    type Item = Result<Value, NotJson>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip(self.rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count());
        let mut documents = Deserializer::from_slice(self.rest).into_iter::<Value>();
        match documents.next()? {
            Ok(value) => {
                let length = documents.byte_offset();
                self.skip(length);
                Some(Ok(value))
            }
            Err(error) => Some(Err(self.skip_broken(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use enroller_core::grants::ShardNaming;
    use serde_json::json;

    use super::*;
    use crate::output::testing::{printed, to_nobody};

    const VPC_MADE: &str = r#"{"source":"event.json","decision":"enroll","account":"111122223333","region":"eu-west-1","resource":"vpc-0123456789abcdef0","reason":"CreateVpc created vpc-0123456789abcdef0"}"#;

    fn context() -> EventContext {
        EventContext {
            log_group: "vpc-flow-logs".parse().unwrap(),
            filter: "AllTraffic".parse().unwrap(),
            member_role: "EnrollerMember".parse().unwrap(),
            member_stack: "enroller-member".to_owned(),
            organization: None,
            tag_keys: ["vpc-flow-logs", "vpc-flow-logs-traffic-type", "managed-by"].map(str::to_owned).into(),
            central_account: "999988887777".parse().unwrap(),
            destinations: ShardNaming::new("Logs".parse().unwrap()).unwrap(),
            regions: ["eu-west-1".parse().unwrap()].into(),
            roles: ["EnrollerMember", "Delivery"].map(str::to_owned).into(),
        }
    }

    /// A CloudTrail record of CreateVpc.
    fn record() -> Value {
        json!({
            "eventVersion": "1.11",
            "eventTime": "2026-11-23T10:00:00Z",
            "eventSource": "ec2.amazonaws.com",
            "eventName": "CreateVpc",
            "awsRegion": "eu-west-1",
            "eventType": "AwsApiCall",
            "recipientAccountId": "111122223333",
            "userIdentity": {"type": "IAMUser", "accountId": "111122223333", "userName": "someone"},
            "requestParameters": {"cidrBlock": "10.0.0.0/16"},
            "responseElements": {"vpc": {"vpcId": "vpc-0123456789abcdef0", "ownerId": "111122223333"}},
        })
    }

    fn envelope() -> Value {
        json!({
            "version": "0",
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.ec2",
            "account": "111122223333",
            "region": "eu-west-1",
            "detail": record(),
        })
    }

    /// The lines printed for a file, and the problems reported.
    fn explained(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        let lines = printed(|out| problems = explain_bytes("event.json", text.as_ref(), &context(), out).unwrap());
        (lines.lines().map(str::to_owned).collect(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_event_gives_one_line_of_json() {
        for event in [envelope(), record(), json!({"Records": [record()]}), json!([envelope()])] {
            assert_eq!(explained(event.to_string()), (vec![VPC_MADE.to_owned()], vec![]), "{event}");
        }
    }

    #[test]
    fn documents_may_be_separated_in_any_way() {
        let (one, event) = (record().to_string(), envelope());
        for text in [
            format!("{one}{event}"),
            format!("{one}\n{event}\n"),
            format!("\u{feff}\r\n{one}\r\n\r\n{event:#}\r\n"),
            format!("[{one},\n{event}]"),
        ] {
            assert_eq!(explained(&text), (vec![VPC_MADE.to_owned(); 2], vec![]), "{text}");
        }
    }

    #[test]
    fn a_broken_line_costs_only_itself_and_is_reported_with_its_position() {
        let good = record().to_string();
        for (broken, position) in [
            ("this is not JSON", "line 2, column 2"),
            ("{\"eventName\": CreateVpc}", "line 2, column 15"),
            ("{\"eventName\": \"CreateVpc\"", "line 2, column 26"),
            ("{\"eventName\": ", "line 2, column 15"),
            ("{\"Records\": [", "line 2, column 14"),
            ("  [", "line 2, column 4"),
            ("{\"eventName\": \"CreateVpc", "line 2, column 25"),
            ("{\"eventName\": \"CreateVpc\"}}", "line 2, column 27"),
        ] {
            let (lines, problems) = explained(format!("{good}\n{broken}\n{good}\n"));
            let whole_documents = lines.iter().filter(|line| *line == VPC_MADE).count();
            assert_eq!(whole_documents, 2, "{broken}: {lines:?}");
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(&format!("event.json: {position}: not JSON: ")), "{}", problems[0]);
            assert!(!problems[0].contains(" at line "), "{}", problems[0]);
        }
    }

    #[test]
    fn the_inside_of_a_broken_document_is_not_taken_for_documents() {
        let broken = format!("{:#}", envelope()).replacen("\"CreateVpc\"", "CreateVpc", 1);
        let (lines, problems) = explained(format!("{broken}\n{:#}", record()));
        assert_eq!(lines, [VPC_MADE]);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn reading_ends_for_any_bytes() {
        for bytes in
            [&b"{"[..], b"{\n{\n{\n", b"]\n[\n]\n[", b"\xff\xfe{\0}\0", b"\"\\ud800\"", b"{}{\n\n[", &[b'['; 1_000]]
        {
            let (_, problems) = explained(bytes);
            assert!(!problems.is_empty(), "{bytes:?}");
        }
    }

    #[test]
    fn empty_and_compressed_files_are_reported_as_such() {
        for nothing in ["", " \n\t", "\u{feff}"] {
            assert_eq!(explained(nothing), (vec![], vec!["event.json is empty: expected JSON".to_owned()]));
        }
        let (lines, problems) = explained(b"\x1f\x8b\x08\x00");
        assert!(lines.is_empty());
        assert!(problems[0].contains("gunzip -c event.json | enroller explain-event -"), "{problems:?}");
    }

    #[test]
    fn json_that_is_not_an_event_is_explained_too() {
        let (lines, problems) = explained("5 null {}");
        assert_eq!((lines.len(), problems.len()), (3, 0));
        assert!(lines.iter().all(|line| line.contains("\"decision\":\"ignore\"")), "{lines:?}");
    }

    #[test]
    fn explaining_stops_when_the_reader_closes_the_pipe() {
        let text = record().to_string();
        let error = explain_bytes("event.json", text.as_bytes(), &context(), &mut to_nobody()).unwrap_err();
        assert!(matches!(error, OutputError::NobodyReads));
    }
}
