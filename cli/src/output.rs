//! Standard output for data, standard error for progress, and what each of them can show.

use std::io::{self, IsTerminal, Write};

use crate::args::Format;
use crate::trouble::Trouble;

/// Widest line of running text. Longer lines tire the eye, whatever the terminal's width.
const WIDEST: usize = 100;
/// Narrower than this, wrapping makes text worse.
const NARROWEST: usize = 40;

/// Where the results go and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    style: Style,
    progress: bool,
}

/// How text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours are welcome.
    pub colour: bool,
    /// Columns of running text.
    pub width: usize,
}

/// Colours with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something is broken.
    Bad,
    /// Something is in doubt.
    Doubt,
    /// All is well.
    Good,
    /// A heading.
    Strong,
}

impl Style {
    /// The text in the tone, or as it is where colours are not welcome.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Bad => "1;31",
            Tone::Doubt => "1;33",
            Tone::Good => "1;32",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

impl Output {
    /// Looks at the two streams and at `NO_COLOR` (no-color.org).
    pub fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = if terminal { terminal_width() } else { None };
        Self {
            format,
            style: Style {
                colour: terminal && !no_colour,
                width: width.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST),
            },
            progress: io::stderr().is_terminal(),
        }
    }

    /// Whether scripts read along.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How text may look.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Prints text that ends with its own line breaks.
    pub fn text(&self, text: &str) -> Result<(), Trouble> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(Trouble::Output)
    }

    /// Prints a value as JSON on several lines.
    pub fn json(&self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        let text =
            serde_json::to_string_pretty(value).map_err(|source| Trouble::Output(source.into()))?;
        self.text(&(text + "\n"))
    }

    /// Prints a value as JSON on one line, for commands that print many.
    pub fn json_line(&self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        let text = serde_json::to_string(value).map_err(|source| Trouble::Output(source.into()))?;
        self.text(&(text + "\n"))
    }

    /// Prints the value in the form asked for.
    pub fn print(
        &self,
        value: &impl serde::Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Trouble> {
        if self.is_json() {
            self.json(value)
        } else {
            self.text(&text())
        }
    }

    /// Prints a list: as JSON, as a table, or, where it is empty, what to do about that.
    pub fn list(
        &self,
        values: &[impl serde::Serialize],
        when_empty: &str,
        text: impl FnOnce() -> String,
    ) -> Result<(), Trouble> {
        if values.is_empty() && !self.is_json() {
            self.say(when_empty);
            return Ok(());
        }
        self.print(&values, text)
    }

    /// A line that the next one replaces, on a terminal only.
    pub fn progress(&self, line: &str) {
        if self.progress {
            let line: String = line.chars().take(terminal_width().unwrap_or(80)).collect();
            // Progress that cannot be shown is not worth an error.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Takes the line of progress away.
    pub fn progress_done(&self) {
        if self.progress {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// A message for a person.
    pub fn say(&self, line: &str) {
        self.progress_done();
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Asks on the terminal; `false` for anything but a yes.
pub fn confirm(question: &str) -> bool {
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

fn terminal_width() -> Option<usize> {
    let mut size = nix::libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    [nix::libc::STDOUT_FILENO, nix::libc::STDERR_FILENO]
        .into_iter()
        .find_map(|fd| {
            // SAFETY: TIOCGWINSZ writes one winsize, to which the pointer leads.
            let done = unsafe { nix::libc::ioctl(fd, nix::libc::TIOCGWINSZ, &raw mut size) };
            (done == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
        })
}
