//! What reaches the terminal.
//!
//! Results go to standard output, everything else to standard error. Colours are for terminals: none where
//! `NO_COLOR` is set or where the output is not read by a person. A reader who has seen enough (`| head`) ends the
//! command quietly.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use owo_colors::{OwoColorize, Style};
use serde::Serialize;

/// Why nothing more can be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Whoever read standard output has stopped doing so. Its own case, because a pipe to AWS that breaks is a
    /// failure and this is none.
    #[error("nobody reads standard output any more")]
    NobodyReads,
    /// The disk is full, for one.
    #[error("standard output cannot be written to")]
    Write(#[source] io::Error),
    /// Cannot happen for types whose maps have text keys.
    #[error("a result cannot be written as JSON")]
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

/// Buffered results; [`finish`](Self::finish) must be called, so that a failed last write is not lost.
pub(crate) struct Output<W: Write> {
    writer: W,
    colours: bool,
}

impl Output<BufWriter<StdoutLock<'static>>> {
    /// Standard output, locked until this is dropped.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let colours = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self { writer: BufWriter::new(stdout.lock()), colours }
    }
}

impl<W: Write> Output<W> {
    /// One line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        let text = serde_json::to_string(value).map_err(OutputError::Json)?;
        self.line(&text)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Whether people look at this and want colours.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// The text, styled where people want it.
    pub(crate) fn styled(&self, text: &str, style: Style) -> String {
        if self.colours { text.style(style).to_string() } else { text.to_owned() }
    }

    /// Passes on what is buffered, so that it comes before a message on standard error.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.writer.flush()?)
    }

    /// Passes on the rest.
    pub(crate) fn finish(mut self) -> Result<(), OutputError> {
        self.flush()
    }
}

/// Asks a question on the terminal; anything but yes is no.
pub(crate) fn ask(question: &str) -> io::Result<bool> {
    to_stderr(question);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Tells an error and what caused it, and gives the exit code.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    if matches!(error.downcast_ref(), Some(OutputError::NobodyReads)) {
        return ExitCode::SUCCESS;
    }
    report(error.as_ref());
    ExitCode::FAILURE
}

/// Tells an error and what caused it on standard error.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    let word = "error:".style(Style::new().red().bold()).to_string();
    to_stderr(&format!("{word} {}\n", chain(error)));
}

/// Help and version are answers, anything else is a mistake in the arguments.
///
/// clap's own exit code for mistakes is 2, which means "there is something to do" to whoever scripts a plan.
pub(crate) fn told_by_clap(answer: &clap::Error) -> ExitCode {
    let printed = answer.print();
    match (answer.use_stderr(), printed.map_err(OutputError::from)) {
        (false, Ok(()) | Err(OutputError::NobodyReads)) => ExitCode::SUCCESS,
        (false, Err(error)) => failed(&error.into()),
        (true, _) => ExitCode::FAILURE,
    }
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
    // The exit code tells what happened even where standard error is closed; nothing else could be done about it.
    drop(anstream::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// What a command prints when `print` is given the output of a pipe.
    pub(crate) fn printed(print: impl FnOnce(&mut Output<Vec<u8>>)) -> String {
        let mut out = Output { writer: Vec::new(), colours: false };
        print(&mut out);
        String::from_utf8(out.writer).unwrap()
    }

    /// An output whose reader is gone.
    pub(crate) struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Prints to nobody.
    pub(crate) fn to_nobody() -> Output<Closed> {
        Output { writer: Closed, colours: false }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_is_told_with_everything_that_caused_it() {
        let cause = io::Error::other("the disk is gone");
        let error = Err::<(), _>(OutputError::Write(cause)).context("the report is incomplete").unwrap_err();
        assert_eq!(
            chain(error.as_ref()),
            "the report is incomplete\n  caused by: standard output cannot be written to\n  caused by: the disk is gone"
        );
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_failure() {
        let error = testing::to_nobody().line("text").unwrap_err();
        assert!(matches!(error, OutputError::NobodyReads));
        assert_eq!(failed(&error.into()), ExitCode::SUCCESS);
        let full = OutputError::from(io::Error::from(ErrorKind::StorageFull));
        assert!(matches!(full, OutputError::Write(_)));
    }
    #[test]
    fn styles_are_for_those_who_want_them() {
        let out = Output { writer: Vec::new(), colours: true };
        assert_eq!(out.styled("x", Style::new().bold()), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(testing::to_nobody().styled("x", Style::new().bold()), "x");
    }
}
