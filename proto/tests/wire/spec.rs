//! The parts of a specification come back as they went, and what no service file says is refused.

use std::time::Duration;

use localize::HttpVersion;
use proto::spec::{Expect, Method, Pattern, Request, Status, Versions};
use proto::v1;

#[test]
fn how_a_service_is_asked_comes_back() {
    let request = Request {
        method: Method::Post,
        headers: Request::headers([
            ("Authorization", "env:SHOP_TOKEN"),
            ("X-Key", "file:/etc/mesh/key"),
            ("Accept", "text/html"),
        ])
        .unwrap(),
        body: "{}".to_owned(),
        versions: Versions::Only(HttpVersion::Two),
    };
    let wire = v1::RequestSpec::from(&request);
    assert_eq!(Request::try_from(wire), Ok(request));
    let usual = v1::RequestSpec::default();
    assert_eq!(Request::try_from(usual), Ok(Request::default()));
}

#[test]
fn what_a_good_answer_is_comes_back() {
    let expect = Expect {
        statuses: vec![Status::class("2xx").unwrap(), Status::code(301).unwrap()],
        body: Some(Pattern::parse("/(?i)welcome/").unwrap()),
        max_first_byte: Some(Duration::from_secs(2)),
    };
    let wire = v1::Expect::from(&expect);
    assert_eq!(Expect::try_from(wire), Ok(expect));
    let nothing = v1::Expect::default();
    assert_eq!(Expect::try_from(nothing), Ok(Expect::default()));
}

#[test]
fn what_is_wrong_with_a_specification_is_said() {
    let header = |name: &str, value: &str| v1::RequestSpec {
        headers: vec![v1::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        }],
        ..v1::RequestSpec::default()
    };
    let requests = [
        (
            v1::RequestSpec {
                method: "DELETE".to_owned(),
                ..v1::RequestSpec::default()
            },
            "a method is GET, HEAD, POST or OPTIONS",
        ),
        (
            v1::RequestSpec {
                http: vec!["3".to_owned()],
                ..v1::RequestSpec::default()
            },
            "a version of HTTP is \"1.1\" or \"2\", each once",
        ),
        (
            v1::RequestSpec {
                body: "x".to_owned(),
                ..v1::RequestSpec::default()
            },
            "only a POST has a body",
        ),
        (
            header("Host", "x"),
            "header \"Host\": this header is the probe's own",
        ),
        (header("X", "a\nb"), "header \"X\": a value has at most"),
    ];
    for (wire, sentence) in requests {
        let error = Request::try_from(wire).unwrap_err().to_string();
        assert!(error.starts_with(sentence), "{error}");
    }
    let statuses = |first, last| v1::Expect {
        statuses: vec![v1::StatusRange { first, last }],
        ..v1::Expect::default()
    };
    let expectations = [
        (
            statuses(100, 199),
            "100 to 199: a status is a number from 200",
        ),
        (
            statuses(200, 250),
            "200 to 250: a status is a number from 200",
        ),
        (
            statuses(700, 700),
            "700 to 700: a status is a number from 200",
        ),
        (
            v1::Expect {
                body: "/(/".to_owned(),
                ..v1::Expect::default()
            },
            "this is not a regular expression: unclosed group",
        ),
    ];
    for (wire, sentence) in expectations {
        let error = Expect::try_from(wire).unwrap_err().to_string();
        assert!(error.starts_with(sentence), "{error}");
    }
}
