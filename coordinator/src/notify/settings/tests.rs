//! What the configuration may say.

use serde::Deserialize;

use super::*;
use crate::notify::channel::Channel;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    notify: Vec<RawReceiver>,
    #[serde(default)]
    maintenance: Vec<RawMaintenance>,
}

fn read(text: &str) -> Result<Settings, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let wait = Duration::ZERO;
    Settings::new(None, wait, file.notify, file.maintenance).map_err(|error| error.to_string())
}

#[test]
fn one_bad_file_for_each_message() {
    let to = "[[notify]]\nname = \"a\"\n";
    let rows = [
        (to.to_owned(), "it is told in one way"),
        (
            format!("{to}slack = {{ url = \"env:S\" }}\npagerduty = {{ routing_key = \"env:P\" }}"),
            "in one way",
        ),
        (
            format!("{to}slack = {{ url = \"https://hooks.slack.com/x\" }}"),
            "say where it is, as env:NAME",
        ),
        (
            format!("{to}pagerduty = {{ routing_key = \"R0\" }}"),
            "say where it is",
        ),
        (
            format!("{to}webhook = {{ url = \"ftp://x\" }}"),
            "is no http or https address",
        ),
        (
            format!("{to}webhook = {{ url = \"https://u:p@x\" }}"),
            "holds no user and no password",
        ),
        (
            format!("{to}webhook = {{ url = \"https://x\", secrets = \"env:A\" }}"),
            "unknown field `secrets`",
        ),
        (
            format!("{to}webhook = {{ url = \"https://x\", ca_file = \"/nowhere\" }}"),
            "ca_file /nowhere",
        ),
        (
            format!("{to}kinds = [\"moon\"]\nslack = {{ url = \"env:S\" }}"),
            "no kind of component",
        ),
        (
            format!(
                "{to}email = {{ server = \"mail.example\", tls = \"none\", from = \"a@b.example\", to = [\"c@d.example\"] }}"
            ),
            "on this host alone",
        ),
        (
            format!("{to}email = {{ server = \"mail.example\", from = \"a@b.example\", to = [] }}"),
            "names nobody",
        ),
        (
            format!(
                "{to}email = {{ server = \"mail.example\", from = \"nobody\", to = [\"c@d.example\"] }}"
            ),
            "is no mail address",
        ),
        (
            format!(
                "{to}email = {{ server = \"mail.example\", user = \"u\", from = \"a@b.example\", to = [\"c@d.example\"] }}"
            ),
            "go together",
        ),
        (
            format!("{to}slack = {{ url = \"env:S\" }}\n{to}slack = {{ url = \"env:S\" }}"),
            "two of this name",
        ),
        (
            "[[maintenance]]\nfrom = \"2 o'clock\"\nuntil = \"04:00\"".to_owned(),
            "no time of the day",
        ),
        (
            "[[maintenance]]\nfrom = \"02:00\"\nuntil = \"02:00\"".to_owned(),
            "ends when it begins",
        ),
        (
            "[[maintenance]]\ndays = [\"sunday\"]\nfrom = \"02:00\"\nuntil = \"03:00\"".to_owned(),
            "is no day",
        ),
        (
            "[[maintenance]]\nfrom = \"02:00\"\nuntil = \"03:00\"\nzone = \"Moon/Base\"".to_owned(),
            "no time zone",
        ),
    ];
    for (text, expected) in rows {
        let said = read(&text).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn every_channel_can_be_said() {
    let text = r#"
[[notify]]
name = "ours"
services = ["shop.*"]
kinds = ["backend", "undecided"]
users_affected = true
webhook = { url = "https://hooks.example/mesh", secret = "file:/etc/mesh/hook" }
[[notify]]
name = "prometheus"
alertmanager = { url = "http://127.0.0.1:9093/am" }
[[notify]]
name = "chat"
slack = { url = "env:SLACK_URL" }
[[notify]]
name = "oncall"
pagerduty = { routing_key = "file:/etc/mesh/pagerduty" }
[[notify]]
name = "mail"
email = { server = "mail.example", from = "mesh@example.org", to = ["Ops <ops@example.org>"], user = "mesh", password = "env:SMTP" }
[[maintenance]]
services = ["shop.example"]
days = ["sun"]
from = "02:00"
until = "04:00"
zone = "Europe/Berlin"
"#;
    let settings = read(text).unwrap();
    let words = settings.receivers.iter().map(|one| one.channel.word());
    let words: Vec<&str> = words.collect();
    assert_eq!(
        words,
        ["webhook", "alertmanager", "slack", "pagerduty", "email"]
    );
    assert!(format!("{settings:?}").contains("env:SLACK_URL"));
    let Channel::Email(mail) = &settings.receivers[4].channel else {
        panic!("{settings:?}");
    };
    assert_eq!((mail.host.as_str(), mail.port), ("mail.example", 587));
}
