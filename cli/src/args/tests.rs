//! What may be typed.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn global_options_work_after_the_command() {
    let args = Args::try_parse_from(["meshctl", "localize", "shop", "-o", "table"]).unwrap();
    assert_eq!(args.output, Format::Text);
    let args = Args::try_parse_from(["meshctl", "-o", "json", "agent", "list"]).unwrap();
    assert_eq!(args.output, Format::Json);
}

/// Whatever the documentation has people type is understood.
#[test]
fn the_commands_of_the_documentation_are_commands() {
    let pages = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/first-verdict.md"),
        include_str!("../../../docs/installing.md"),
        include_str!("../../../docs/meshctl.md"),
        include_str!("../../../docs/notifications.md"),
        include_str!("../../../docs/reading-a-verdict.md"),
        include_str!("../../../docs/security.md"),
        include_str!("../../../docs/upgrading-and-backup.md"),
    ];
    let mut tried = 0;
    for line in pages.iter().flat_map(|page| page.lines()) {
        let line = line.trim_start_matches("$ ");
        // Options in brackets are a description, and what a shell makes of the rest is its own.
        if !line.starts_with("meshctl ") || line.contains(" [--") {
            continue;
        }
        let line = line.split(" #").next().unwrap_or_default();
        let words = line.replace('\'', "");
        let mut parts = words.split('"');
        let mut args: Vec<&str> = Vec::new();
        while let Some(plain) = parts.next() {
            args.extend(plain.split_whitespace());
            args.extend(parts.next());
        }
        let parsed = Args::try_parse_from(&args);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn usage_errors_end_with_two() {
    let rows: &[&[&str]] = &[
        &["meshctl"],
        &["meshctl", "localize"],
        &["meshctl", "localize", "shop", "--budget", "60"],
        &["meshctl", "agent", "token", "--name", "a", "--role", "moon"],
        &[
            "meshctl", "agent", "token", "--name", "a", "--role", "inside", "--label", "x",
        ],
        &["meshctl", "demo", "--fault", "nonsense"],
        &["meshctl", "audit", "--limit", "0"],
        &["meshctl", "audit", "verify", "--kept", "7:ab"],
        &["meshctl", "audit", "--limit", "1", "verify"],
        &["meshctl", "operator", "create", "ann"],
        &["meshctl", "operator", "create", "ann", "--role", "root"],
        &["meshctl", "mended"],
        &["meshctl", "mended", "v-1", "--since", "yesterday"],
        &["meshctl", "service", "check"],
        &["meshctl", "service", "check", "shop", "-f", "shop.toml"],
        &["meshctl", "silence", "shop", "--for", "2h"],
        &["meshctl", "silence", "shop", "--because", "we know"],
        &["meshctl", "-q", "-v", "status"],
        &["meshctl", "-o", "xml", "status"],
    ];
    for row in rows {
        let error = Args::try_parse_from(*row).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{row:?}");
    }
}
