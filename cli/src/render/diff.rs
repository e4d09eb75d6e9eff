//! What differs between two texts, as `diff -u` says it.

use similar::TextDiff;

use crate::output::{Style, Tone};

/// Lines around a difference.
const AROUND: usize = 3;

/// The difference between two texts with their names; nothing where there is none.
pub fn diff(old: &str, new: &str, (old_name, new_name): (String, String)) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut unified = diff.unified_diff();
    let unified = unified.context_radius(AROUND).header(&old_name, &new_name);
    unified.to_string()
}

/// A difference in colours, where they are welcome.
pub fn painted(diff: &str, style: Style) -> String {
    let paint = |line: &str| {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            _ => return format!("{line}\n"),
        };
        style.paint(tone, line) + "\n"
    };
    diff.lines().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (String, String) {
        ("shop as applied".to_owned(), "shop.toml".to_owned())
    }

    #[test]
    fn a_line_that_changes_is_shown_among_its_neighbours() {
        let old = "name = \"shop\"\n\n[schedule]\nevery = \"10s\"\n";
        let new = "name = \"shop\"\n\n[schedule]\nevery = \"20s\"\n";
        let expected = "--- shop as applied\n+++ shop.toml\n@@ -1,4 +1,4 @@\n name = \"shop\"\n \n [schedule]\n\
                        -every = \"10s\"\n+every = \"20s\"\n";
        assert_eq!(diff(old, new, names()), expected);
        assert_eq!(diff(old, old, names()), "");
    }

    #[test]
    fn colours_are_for_those_who_welcome_them() {
        let [plain, coloured] = [false, true].map(|colour| Style { colour, width: 80 });
        let text = " same\n-old\n+new\n";
        assert_eq!(painted(text, plain), text);
        let expected = " same\n\u{1b}[1;31m-old\u{1b}[0m\n\u{1b}[1;32m+new\u{1b}[0m\n";
        assert_eq!(painted(text, coloured), expected);
    }
}
