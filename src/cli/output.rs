//! What the verbs print: lines on stdout and stderr that may be pipes, files or terminals.
//!
//! The one thing a reader would get wrong: a closed pipe is no failure. `head` has read enough; the verb ends quietly with
//! code 0, which is why every print here returns its error instead of panicking as `println!` does.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

/// Where a verb prints.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    colour: bool,
    colour_errors: bool,
    progress: bool,
}

/// A colour or weight of text on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it is.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Fine.
    Green,
    /// Under way.
    Yellow,
    /// Not fine.
    Red,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
        }
    }
}

#[allow(clippy::unused_self, reason = "who holds an Output may print")]
impl Output {
    /// Colours where the stream is a terminal and `NO_COLOR` is not set.
    pub(crate) fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            colour: wanted && io::stdout().is_terminal(),
            colour_errors: wanted && io::stderr().is_terminal(),
            progress: io::stderr().is_terminal(),
        }
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false, colour_errors: false, progress: false }
    }

    /// Whether stdout shows colours.
    pub(crate) fn colours(&self) -> bool {
        self.colour
    }

    /// Text for stdout in a colour, where it shows colours.
    pub(crate) fn paint(&self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.colour)
    }

    /// A line on stdout, flushed.
    pub(crate) fn line(&self, line: impl fmt::Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Text on stdout as it is, flushed.
    pub(crate) fn raw(&self, text: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text)?;
        out.flush()
    }

    /// A line on stderr. Nobody can be told that stderr is gone, so that is not an error.
    pub(crate) fn note(&self, line: impl fmt::Display, paint: Paint) {
        let _ = writeln!(io::stderr().lock(), "{}", painted(&line.to_string(), paint, self.colour_errors));
    }

    /// Text on stderr in place of the current line, where stderr is a terminal.
    pub(crate) fn progress(&self, line: &str) {
        if self.progress {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{line}");
        }
    }
}

fn painted(text: &str, paint: Paint, colour: bool) -> String {
    if colour && paint != Paint::Plain { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_reaches_a_stream_without_colours() {
        assert_eq!(painted("x", Paint::Red, false), "x");
        assert_eq!(painted("x", Paint::Plain, true), "x");
        assert_eq!(painted("x", Paint::Red, true), "\x1b[31mx\x1b[0m");
    }
}
