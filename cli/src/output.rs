//! Standard output for data, standard error for progress, and what each of them can show.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::args::{Args, Format};
use crate::render::Grid;
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
    headings: bool,
    progress: bool,
    quiet: bool,
    verbose: bool,
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
    pub fn new(args: &Args) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = if terminal { terminal_width() } else { None };
        Self {
            format: args.output,
            headings: !args.no_headers,
            quiet: args.quiet,
            verbose: args.verbose,
            style: Style {
                colour: terminal && !no_colour,
                width: width.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST),
            },
            progress: io::stderr().is_terminal() && !args.quiet,
        }
    }

    /// Whether scripts read along.
    pub fn is_for_scripts(&self) -> bool {
        match self.format {
            Format::Text | Format::Wide => false,
            Format::Json | Format::Jsonl | Format::Yaml | Format::Name => true,
        }
    }

    /// How much of a table is shown.
    pub fn grid(&self) -> Grid {
        Grid {
            wide: self.format == Format::Wide,
            headings: self.headings,
        }
    }

    /// How text may look.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Prints text that ends with its own line breaks.
    pub fn text(&self, text: &str) -> Result<(), Trouble> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(Trouble::Output)
    }

    /// Prints a value as scripts want it.
    pub fn value(&self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        let value = serde_json::to_value(value).map_err(|source| Trouble::Output(source.into()))?;
        self.text(&scripted(self.format, &value)?)
    }

    /// Prints one of many values as scripts want it.
    pub fn one_of_many(&self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        let value = serde_json::to_value(value).map_err(|source| Trouble::Output(source.into()))?;
        let text = match self.format {
            Format::Text | Format::Wide | Format::Json | Format::Jsonl => format!("{value}\n"),
            Format::Yaml => format!("---\n{}", yaml(&value)?),
            Format::Name => return Err(Trouble::NoNames),
        };
        self.text(&text)
    }

    /// Prints the value in the form asked for.
    pub fn print(
        &self,
        value: &impl serde::Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Trouble> {
        if self.is_for_scripts() {
            self.value(value)
        } else {
            self.text(&text())
        }
    }

    /// Prints a list: for scripts, as a table, or, where it is empty, what to do about that.
    pub fn list(
        &self,
        values: &[impl serde::Serialize],
        when_empty: &str,
        text: impl FnOnce(Grid) -> String,
    ) -> Result<(), Trouble> {
        if values.is_empty() && !self.is_for_scripts() {
            self.say(when_empty);
            return Ok(());
        }
        self.print(&values, || text(self.grid()))
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

    /// A message for whoever wants to know more.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// A message for a person.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        self.progress_done();
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// A value in a form for scripts; of a list each thing by itself where the form has it so.
fn scripted(format: Format, value: &Value) -> Result<String, Trouble> {
    let each = value.as_array();
    let each = each.map_or(std::slice::from_ref(value), Vec::as_slice);
    match format {
        Format::Text | Format::Wide | Format::Json => {
            let text = serde_json::to_string_pretty(value);
            Ok(text.map_err(|source| Trouble::Output(source.into()))? + "\n")
        }
        Format::Jsonl => Ok(each.iter().map(|value| format!("{value}\n")).collect()),
        Format::Yaml => yaml(value),
        Format::Name => each.iter().map(|value| Ok(name(value)? + "\n")).collect(),
    }
}

/// What a thing goes by.
fn name(value: &Value) -> Result<String, Trouble> {
    let name = value.get("id").or_else(|| value.get("name"));
    let name = name.and_then(Value::as_str).ok_or(Trouble::NoNames)?;
    Ok(name.to_owned())
}

fn yaml(value: &Value) -> Result<String, Trouble> {
    let text = serde_saphyr::to_string(value).map_err(|error| Trouble::Yaml(error.to_string()))?;
    Ok(text.trim_end().to_owned() + "\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_get_the_form_that_they_asked_for() {
        let agents = serde_json::json!([{"name": "dc1", "state": "connected"}, {"name": "home1"}]);
        let rows = [
            (
                Format::Jsonl,
                "{\"name\":\"dc1\",\"state\":\"connected\"}\n{\"name\":\"home1\"}\n",
            ),
            (Format::Name, "dc1\nhome1\n"),
            (
                Format::Yaml,
                "- name: dc1\n  state: connected\n- name: home1\n",
            ),
        ];
        for (format, expected) in rows {
            assert_eq!(scripted(format, &agents).unwrap(), expected, "{format:?}");
        }
        let verdict = serde_json::json!({"id": "v-1", "name": "not this", "service": "shop"});
        assert_eq!(scripted(Format::Name, &verdict).unwrap(), "v-1\n");
        assert!(scripted(Format::Name, &serde_json::json!([{"arm": "x"}])).is_err());
    }
}
