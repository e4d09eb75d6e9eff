//! Running text, broken at spaces.

/// Breaks `text` into lines of at most `width` columns: the first after `first`, the others after as
/// many spaces as `first` has columns. A word longer than the line stands alone. Ends with a line
/// break.
pub fn wrap(first: &str, text: &str, width: usize) -> String {
    let indent = first.chars().count();
    let room = width.saturating_sub(indent).max(1);
    let mut out = first.to_owned();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            used = 0;
        }
        if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    let trimmed = out.trim_end().len();
    out.truncate(trimmed);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        let rows = [
            ("", "a b c", 80, "a b c\n"),
            ("  ", "aaa bbb ccc", 9, "  aaa bbb\n  ccc\n"),
            ("Next  ", "one two", 9, "Next  one\n      two\n"),
            ("", "averyverylongword b", 5, "averyverylongword\nb\n"),
            ("Owner  ", "", 80, "Owner\n"),
        ];
        for (first, text, width, expected) in rows {
            assert_eq!(wrap(first, text, width), expected);
        }
    }
}
