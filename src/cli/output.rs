//! What the verbs print: lines on stdout and stderr that may be pipes, files or terminals.
//!
//! The one thing a reader would get wrong: a closed pipe is no failure. `head` has read enough; the verb ends quietly with
//! code 0, which is why every print here returns its error instead of panicking as `println!` does.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    thread,
};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

/// Where a verb prints.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about a stream")]
pub(crate) struct Output {
    colour: bool,
    colour_errors: bool,
    /// stdout is a terminal.
    terminal: bool,
    /// The terminal moves its cursor where it is told to.
    steers: bool,
    /// stderr is a terminal that does.
    progress: bool,
}

/// What a terminal shows at once, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// In a line.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
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
        let steers = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let wanted = steers && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (terminal, errors) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            colour: wanted && terminal,
            colour_errors: wanted && errors,
            terminal,
            steers,
            progress: steers && errors,
        }
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false, colour_errors: false, terminal: false, steers: false, progress: false }
    }

    /// Whether stdout shows colours.
    pub(crate) fn colours(&self) -> bool {
        self.colour
    }

    /// The terminal's size now; `None` where stdout is none, and nothing is made to fit.
    pub(crate) fn screen(&self) -> Option<Screen> {
        self.terminal.then(|| size(io::stdout()))
    }

    /// Whether a picture may be drawn over the one before.
    pub(crate) fn draws_in_place(&self) -> bool {
        self.terminal && self.steers
    }

    /// A line on stdout, on a terminal broken between words; what follows its first line is indented.
    pub(crate) fn folded(&self, text: &str, indent: usize) -> io::Result<()> {
        let width = self.screen().map_or(usize::MAX, |screen| screen.width);
        folded(text, width, indent).into_iter().try_for_each(|line| self.line(line))
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
            // A line that is broken by the terminal could not be drawn over.
            let line = clipped(line, size(io::stderr()).width.saturating_sub(1));
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{line}");
        }
    }
}

/// Waits until nobody reads stdout any more: `head` has read enough, though there is nothing to write that would show it.
pub(crate) async fn unread() {
    let (tell, told) = oneshot::channel();
    // A file is always ready, and is never asked about by `epoll`; `poll` waits for its end, which never comes.
    let watch = move || {
        let stdout = io::stdout();
        let is_unread = || {
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut watched, None) {
                Ok(_) => Some(!watched[0].revents().is_empty()),
                Err(rustix::io::Errno::INTR) => None,
                Err(_) => Some(false),
            }
        };
        if std::iter::repeat_with(is_unread).flatten().next() == Some(true) {
            // Who has ended meanwhile need not be told.
            let _ = tell.send(());
        }
    };
    if thread::Builder::new().name("stdout".into()).spawn(watch).is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// 80 by 24 where a terminal does not know.
fn size(stream: impl AsFd) -> Screen {
    let known = rustix::termios::tcgetwinsize(stream).ok();
    let or = |size: Option<u16>, default| size.filter(|size| *size > 0).map_or(default, usize::from);
    Screen { width: or(known.map(|size| size.ws_col), 80), height: or(known.map(|size| size.ws_row), 24) }
}

/// Lines of at most `width` characters, broken between words; a longer word keeps its line.
pub(crate) fn folded(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let start = paragraph.len() - paragraph.trim_start().len();
        let mut line = String::new();
        let mut length = 0;
        // Spaces within stay: they may be columns.
        for (at, word) in paragraph.split(' ').enumerate() {
            let more = word.chars().count();
            if length > start.max(indent) && length + 1 + more > width && !word.is_empty() {
                lines.push(line.trim_end().to_owned());
                line = " ".repeat(indent);
                length = indent;
            } else if at > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += more;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Text of at most `width` characters; `…` stands for what is left out.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.extend((width > 0).then_some('…'));
    short
}

fn painted(text: &str, paint: Paint, colour: bool) -> String {
    if colour && paint != Paint::Plain { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_never_wider_than_it_may_be() {
        let text = "  The peer refused it for good; what it said was longer than a line, as it often is.";
        for width in [20, 40, 79] {
            let lines = folded(text, width, 4);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{lines:?}");
            let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        }
        assert_eq!(folded(text, usize::MAX, 4), [text]);
        assert_eq!(folded("a\nb  c", 3, 1), ["a", "b", " c"]);
        assert_eq!([clipped("abc", 3), clipped("abcd", 3), clipped("abc", 0)], ["abc", "ab…", ""]);
    }

    #[test]
    fn no_escape_sequence_reaches_a_stream_without_colours() {
        assert_eq!(painted("x", Paint::Red, false), "x");
        assert_eq!(painted("x", Paint::Plain, true), "x");
        assert_eq!(painted("x", Paint::Red, true), "\x1b[31mx\x1b[0m");
    }
}
