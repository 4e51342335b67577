//! What reaches the terminal.
//!
//! Results go to standard output, everything else goes to standard error. Colours are used only on a terminal, and never
//! if `NO_COLOR` is set. When the reader closes the pipe (`| head`), the command ends quietly.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use owo_colors::{OwoColorize, Style};
use serde::Serialize;

/// Why no further output can be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The reader of standard output has closed it. This is a case of its own because it is not a failure, whereas a
    /// broken connection to AWS is one.
    #[error("the reader of standard output has closed it")]
    NobodyReads,
    /// Writing failed, for example because the disk is full.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// Cannot happen for types whose maps have text keys.
    #[error("cannot serialize the result as JSON")]
    Json(#[source] serde_json::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Write(error),
        }
    }
}

/// Buffered standard output. Call [`finish`](Self::finish) at the end, so that a failed last write is reported.
pub(crate) struct Output<W: Write> {
    writer: W,
    colours: bool,
}

impl Output<BufWriter<StdoutLock<'static>>> {
    /// Standard output, which stays locked until this value is dropped.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let colours = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self { writer: BufWriter::new(stdout.lock()), colours }
    }
}

impl<W: Write> Output<W> {
    /// Prints one line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    /// Prints one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        let text = serde_json::to_string(value).map_err(OutputError::Json)?;
        self.line(&text)
    }

    /// Prints bytes unchanged, without a line break.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Whether the output is a terminal that shows colours.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// The text, styled if the output shows colours.
    pub(crate) fn styled(&self, text: &str, style: Style) -> String {
        if self.colours { text.style(style).to_string() } else { text.to_owned() }
    }

    /// Writes out the buffer, so that it appears before a message on standard error.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.writer.flush()?)
    }

    /// Writes out the rest of the buffer.
    pub(crate) fn finish(mut self) -> Result<(), OutputError> {
        self.flush()
    }
}

/// Asks a question on the terminal. Any answer but `y` or `yes` means no.
pub(crate) fn ask(question: &str) -> io::Result<bool> {
    to_stderr(question);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Reports an error with its causes, and returns the exit code.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    if matches!(error.downcast_ref(), Some(OutputError::NobodyReads)) {
        return ExitCode::SUCCESS;
    }
    report(error.as_ref());
    ExitCode::FAILURE
}

/// Prints an error with its causes on standard error.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    let word = "error:".style(Style::new().red().bold()).to_string();
    to_stderr(&format!("{word} {}\n", chain(error)));
}

/// Prints a line on standard error.
pub(crate) fn note(text: &str) {
    to_stderr(&format!("{text}\n"));
}

/// Prints a warning on standard error.
pub(crate) fn warn(text: &str) {
    let word = "warning:".style(Style::new().yellow().bold()).to_string();
    to_stderr(&format!("{word} {text}\n"));
}

/// Prints what clap returned instead of arguments: help, the version, or an error in the arguments.
///
/// clap's own exit code for an error is 2. A script that runs `enroller plan` would take that for "changes are pending".
pub(crate) fn print_clap_answer(answer: &clap::Error) -> ExitCode {
    let printed = answer.print();
    match (answer.use_stderr(), printed.map_err(OutputError::from)) {
        (false, Ok(()) | Err(OutputError::NobodyReads)) => ExitCode::SUCCESS,
        (false, Err(error)) => failed(&error.into()),
        (true, _) => ExitCode::FAILURE,
    }
}

/// Untrusted text, safe to print on a terminal. Control characters and characters that change the text direction are
/// replaced, because a tag or an account name must not move the cursor, colour the screen or reverse the text after it.
pub(crate) fn printable(text: &str) -> String {
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    text.chars().map(|letter| if letter.is_control() || turns(letter) { '\u{fffd}' } else { letter }).collect()
}

/// A number with its noun: "1 VPC", "2 VPCs". The noun must form its plural with an s.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("\n  caused by: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn to_stderr(text: &str) {
    // If standard error is closed, the message is lost, and only the exit code shows what happened.
    drop(anstream::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// What `print` writes to a pipe.
    pub(crate) fn printed(print: impl FnOnce(&mut Output<Vec<u8>>)) -> String {
        let mut out = Output { writer: Vec::new(), colours: false };
        print(&mut out);
        String::from_utf8(out.writer).unwrap()
    }

    /// A pipe whose reader has closed it.
    pub(crate) struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output whose reader has closed it.
    pub(crate) fn to_nobody() -> Output<Closed> {
        Output { writer: Closed, colours: false }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_is_reported_with_all_its_causes() {
        let cause = io::Error::other("the disk is gone");
        let error = Err::<(), _>(OutputError::Write(cause)).context("the report is incomplete").unwrap_err();
        assert_eq!(
            chain(error.as_ref()),
            "the report is incomplete\n  caused by: cannot write to standard output\n  caused by: the disk is gone"
        );
    }

    #[test]
    fn a_reader_that_closes_the_pipe_is_not_a_failure() {
        let error = testing::to_nobody().line("text").unwrap_err();
        assert!(matches!(error, OutputError::NobodyReads));
        assert_eq!(failed(&error.into()), ExitCode::SUCCESS);
        let full = OutputError::from(io::Error::from(ErrorKind::StorageFull));
        assert!(matches!(full, OutputError::Write(_)));
    }

    #[test]
    fn styles_appear_only_if_the_output_shows_colours() {
        let out = Output { writer: Vec::new(), colours: true };
        assert_eq!(out.styled("x", Style::new().bold()), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(testing::to_nobody().styled("x", Style::new().bold()), "x");
    }

    #[test]
    fn one_thing_is_singular_and_every_other_number_plural() {
        let counts = [0, 1, 2].map(|number| count(number, "account-Region"));
        assert_eq!(counts, ["0 account-Regions", "1 account-Region", "2 account-Regions"]);
    }
}
