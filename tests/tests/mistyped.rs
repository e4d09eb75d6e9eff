//! Names and files that are not what the coordinator holds: what `meshctl` says, and that nothing is done by
//! mistake.
//!
//! The programs must be built beside this test, as `make unit` does. Everything is on loopback, without root.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod small;

use std::fs;

use serde_json::Value;

use small::Mesh;

const NOT_DONE: i32 = 2;
const NOT_FOUND: i32 = 6;

const SHOP: &str =
    "name = \"shop\"\nurl = \"http://shop.example/\"\n\n[schedule]\nevery = \"10s\"\n";

fn file(mesh: &Mesh, name: &str, text: &str) -> String {
    let file = mesh.path(name);
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// The exit status, and what is said on standard error.
fn refused(mesh: &Mesh, words: &[&str]) -> (i32, String) {
    let output = mesh.meshctl_command(words).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn a_silence_is_for_a_service_that_there_is() {
    let mesh = Mesh::start("warn");
    let silence = |name, more: &[&'static str]| {
        let words = ["silence", name, "--for", "2h", "--because", "racks"];
        [&words, more].concat()
    };
    let (status, said) = refused(&mesh, &silence("shop", &[]));
    assert_eq!(status, NOT_FOUND, "{said}");
    assert!(
        said.contains("there is none: `meshctl service apply"),
        "{said}"
    );
    let shop = file(&mesh, "shop.toml", SHOP);
    mesh.meshctl(&["service", "apply", "-f", &shop, "--no-check"]);
    for name in ["shpo", "wiki.*"] {
        let (status, said) = refused(&mesh, &silence(name, &[]));
        assert_eq!(status, NOT_FOUND, "{said}");
        let expected = format!("meshctl: no service matches \"{name}\"; there is shop.");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains("--force"), "{said}");
    }
    assert_eq!(mesh.meshctl(&["silences", "-o", "name"]), "");
    mesh.meshctl(&silence("shop", &[]));
    mesh.meshctl(&silence("sh*", &[]));
    mesh.meshctl(&silence("shpo", &["--force"]));
    assert_eq!(mesh.meshctl(&["silences", "-o", "name"]).lines().count(), 3);
    for (words, expected) in [
        (
            ["unsilence", "s-nobody"].as_slice(),
            "meshctl: there is no silence s-nobody; `meshctl silences`",
        ),
        (
            &["notify", "test", "nobody"],
            "meshctl: there is no [[notify]] \"nobody\" in the coordinator's configuration; there is none",
        ),
    ] {
        let (status, said) = refused(&mesh, words);
        assert_eq!(status, NOT_FOUND, "{said}");
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_rehearsal_shows_what_would_change_and_changes_nothing() {
    let mesh = Mesh::start("warn");
    let rehearse = |file: &str| {
        let words = ["service", "apply", "-f", file, "--no-check", "--dry-run"];
        let said = mesh.meshctl(&[&words[..], &["-o", "json"]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        let text = |key: &str| said[key].as_str().unwrap().to_owned();
        (text("would_be"), text("diff"), mesh.meshctl(&words))
    };
    let shop = file(&mesh, "shop.toml", SHOP);
    let (would_be, diff, _) = rehearse(&shop);
    assert_eq!(would_be, "created");
    assert!(diff.starts_with("--- /dev/null\n+++ "), "{diff}");
    assert_eq!(mesh.meshctl(&["service", "list", "-o", "name"]), "");

    mesh.meshctl(&["service", "apply", "-f", &shop, "--no-check"]);
    let (would_be, diff, text) = rehearse(&shop);
    assert_eq!((would_be.as_str(), diff.as_str()), ("unchanged", ""));
    assert_eq!(text, "service shop would be unchanged\n");

    let other = file(&mesh, "other.toml", &SHOP.replace("10s", "20s"));
    let (would_be, diff, text) = rehearse(&other);
    assert_eq!(would_be, "changed");
    let expected = format!(
        "--- shop as applied\n+++ {other}\n@@ -2,4 +2,4 @@\n url = \"http://shop.example/\"\n \n [schedule]\n\
         -every = \"10s\"\n+every = \"20s\"\n"
    );
    assert_eq!(diff, expected);
    assert_eq!(text, format!("service shop would be changed\n{expected}"));
    let held = mesh.meshctl(&["service", "show", "shop", "-o", "json"]);
    assert!(held.contains("10s") && !held.contains("20s"), "{held}");

    // The file's own text is the same, and that of the file it names is not.
    let named = SHOP.to_owned() + "\n[tls]\nca_file = \"ca.pem\"\n";
    let anchors = fs::read_to_string(mesh.path("coordinator/ca/ca.pem")).unwrap();
    file(&mesh, "ca.pem", &anchors);
    let named = file(&mesh, "named.toml", &named);
    mesh.meshctl(&["service", "apply", "-f", &named, "--no-check"]);
    file(&mesh, "ca.pem", &(anchors.clone() + &anchors));
    let (would_be, diff, _) = rehearse(&named);
    assert_eq!(would_be, "changed");
    let head = "--- tls.ca_file as applied\n+++ tls.ca_file\n";
    assert!(
        diff.starts_with(head) && diff.contains("\n+-----BEGIN"),
        "{diff}"
    );

    // What a rehearsal of good cheer would hide until it counts.
    let bad = file(&mesh, "bad.toml", &SHOP.replace("url", "urls"));
    let words = ["service", "apply", "-f", &bad, "--no-check", "--dry-run"];
    let (status, said) = refused(&mesh, &words);
    assert_eq!(status, NOT_DONE, "{said}");
    assert!(said.contains("urls"), "{said}");
}
