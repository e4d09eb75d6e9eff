//! `[request]` and `[expect]`.

use localize::HttpVersion;
use proto::spec::{Method, Pattern, Status, Value, Versions};

use super::*;

const HEAD: &str = "name = \"a\"\nurl = \"https://a.example/\"\n";

fn parse(sections: &str) -> Result<ServiceFile, ServiceFileError> {
    ServiceFile::parse(&format!("{HEAD}{sections}"), None)
}

#[test]
fn how_it_is_asked() {
    let file = parse(
        r#"
[request]
method  = "POST"
headers = { Authorization = "env:SHOP_TOKEN", X-Key = "file:/etc/mesh/key", Accept = "text/html" }
body    = "{}"
http    = ["2"]
follow  = 0
"#,
    )
    .expect("parses");
    let request = file.request;
    assert_eq!(request.method, Method::Post);
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.to_string()))
        .collect();
    let expected = [
        ("accept", "text/html"),
        ("authorization", "env:SHOP_TOKEN"),
        ("x-key", "file:/etc/mesh/key"),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name, value.to_owned()))
    );
    assert_eq!(
        request.headers[1].value,
        Value::Env("SHOP_TOKEN".to_owned())
    );
    assert_eq!(request.body, "{}");
    assert_eq!(request.versions, Versions::Only(HttpVersion::Two));
}

#[test]
fn what_is_expected() {
    let file = parse("[expect]\nstatus = [\"2xx\", 301]\nbody = \"Welcome\"\nmax_ttfb = \"2s\"\n")
        .expect("parses");
    let expect = file.expect;
    assert_eq!(expect.statuses, [Status::Class(2), Status::Code(301)]);
    assert_eq!(
        expect.body,
        Some(Pattern::parse("Welcome").expect("pattern"))
    );
    assert_eq!(expect.max_first_byte, Some(Duration::from_secs(2)));
}

/// What is shown to users is what is read.
#[test]
fn the_example_shows_it() {
    let example = include_str!("../../../../deploy/shop.example.toml");
    let file = ServiceFile::parse(example, Some(super::PEM)).expect("parses");
    assert_eq!(file.expect.statuses, [Status::Class(2), Status::Code(301)]);
    assert_eq!(file.expect.max_first_byte, Some(Duration::from_secs(2)));
    assert_eq!(file.request.headers.len(), 1);
    assert_eq!(file.request.versions, Versions::Either);
    let readme = include_str!("../../../../README.md");
    let section = readme.split("## The service file").nth(1).expect("section");
    let toml = section.split("```toml\n").nth(1).expect("block");
    let toml = toml.split("```").next().expect("its end");
    let file = ServiceFile::parse(toml, None).expect("parses");
    let value = &file.request.headers[0].value;
    assert_eq!(*value, Value::Env("SHOP_TOKEN".to_owned()));
}

#[test]
fn nothing_need_be_said() {
    let file = parse("").expect("parses");
    assert_eq!(file.request, Request::default());
    assert!(file.expect.is_empty() && !file.expect.is_declared());
    let soon = parse("[expect]\nmax_ttfb = \"500ms\"\n").expect("parses");
    assert!(!soon.expect.is_declared(), "how soon is not what");
    for what in ["status = [404]", "body = \"/^$/\""] {
        let file = parse(&format!("[expect]\n{what}\n")).expect(what);
        assert!(file.expect.is_declared(), "{what}");
    }
}

#[test]
fn every_message_has_its_bad_section() {
    let rows = [
        (
            "[request]\nmethod = \"DELETE\"",
            "line 4, request.method = \"DELETE\": a method is GET, HEAD, POST or OPTIONS, for example \
             request.method = \"GET\"",
        ),
        ("[request]\nmethods = \"GET\"", "unknown field `methods`"),
        (
            "[request]\nbody = \"secret\"",
            "line 4, request.body = \"...\": only a POST has a body",
        ),
        (
            "[request]\nmethod = \"POST\"\nbody = \"file:/etc/x\"",
            "line 5, request.body = \"...\": a body is sent as it stands",
        ),
        (
            "[request]\nheaders = { Host = \"b.example\" }",
            "line 4, request.headers = \"Host\": this header is the probe's own",
        ),
        (
            "[request]\nheaders = { X-A = \"1\", x-a = \"2\" }",
            "request.headers = \"x-a\": this header is there already",
        ),
        (
            "[request.headers]\nAuthorization = \"Bearer secret\\r\\n\"",
            "line 4, request.headers = \"Authorization\": a value has at most 4096 visible ASCII",
        ),
        (
            "[request.headers]\nAuthorization = \"env:\"",
            "line 4, request.headers = \"Authorization\": env: is followed by the name of a variable",
        ),
        (
            "[request.headers]\nAuthorization = \"file:token\"",
            "request.headers = \"Authorization\": file: is followed by an absolute path",
        ),
        (
            "[request.headers]\n\"X Y\" = \"z\"",
            "line 4, request.headers = \"X Y\": a header's name has",
        ),
        ("[request]\nheaders = { X = 1 }", "expected a string"),
        (
            "[request]\nhttp = [\"3\"]",
            "line 4, request.http = \"3\": a version of HTTP is \"1.1\" or \"2\", each once",
        ),
        (
            "[request]\nhttp = []",
            "line 4, request.http = \"\": at least one version of HTTP",
        ),
        (
            "[request]\nfollow = 3",
            "line 4, request.follow = \"3\": redirects are not followed",
        ),
        (
            "[expect]\nstatus = [\"2xx\", 99]",
            "line 4, expect.status = \"99\": a status is a number from 200 to 599",
        ),
        (
            "[expect]\nstatus = [\"1xx\"]",
            "line 4, expect.status = \"1xx\": a status is a number from 200 to 599, or a class from \
             \"2xx\" to \"5xx\", for example expect.status = [\"2xx\", 301]",
        ),
        (
            "[expect]\nstatus = []",
            "line 4, expect.status = \"0 entries\": one status at least",
        ),
        (
            "[expect]\nstatus = [true]",
            "expected a status such as 301, or a class such as \"2xx\"",
        ),
        ("[expect]\nstatus = 200", "expected a sequence"),
        (
            "[expect]\nbody = \"/(/\"",
            "line 4, expect.body = \"/(/\": this is not a regular expression: unclosed group, for \
             example expect.body = \"Welcome\"",
        ),
        (
            "[expect]\nbody = \"\"",
            "line 4, expect.body = \"\": every body holds this",
        ),
        (
            "[request]\nmethod = \"HEAD\"\n[expect]\nbody = \"Welcome\"",
            "line 6, expect.body = \"Welcome\": an answer to HEAD has no body",
        ),
        (
            "[expect]\nmax_ttfb = \"2\"",
            "line 4, expect.max_ttfb = \"2\": a length of time is a whole number",
        ),
        (
            "[expect]\nmax_ttfb = \"1ms\"",
            "line 4, expect.max_ttfb = \"1ms\": a limit lies between 50ms and 60s",
        ),
        ("[expect]\nttfb = \"2s\"", "unknown field `ttfb`"),
    ];
    for (sections, sentence) in rows {
        let message = parse(sections).expect_err(sections).to_string();
        assert!(message.contains(sentence), "{sections}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
