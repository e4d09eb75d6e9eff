//! How a service is asked, and what a good answer is.

use std::sync::Arc;

use localize::{
    Arm, Encoding, Failure, HttpFacts, Layer, Object, Outcome, Redirect, Session, Target,
};
use proto::spec::{Expect, Method, Pattern, Request, Status};
use proto::v1;
use tokio::io::AsyncReadExt as _;

use super::Then::{Close, Wait};
use super::{
    Earlier, failed, finish, layers, listener, probe, probe_after, probe_arm, serve, spec, vip,
};

fn expecting(statuses: &[&str], body: &str) -> v1::ServiceSpec {
    let status = |text: &&str| match text.parse() {
        Ok(code) => Status::code(code).unwrap(),
        Err(_) => Status::class(text).unwrap(),
    };
    let expect = Expect {
        statuses: statuses.iter().map(status).collect(),
        body: (!body.is_empty()).then(|| Pattern::parse(body).unwrap()),
        max_first_byte: None,
    };
    v1::ServiceSpec {
        expect: Some((&expect).into()),
        ..spec("http")
    }
}

fn asking(method: Method, headers: &[(&str, &str)], body: &str) -> v1::ServiceSpec {
    let request = Request {
        method,
        headers: Request::headers(headers.iter().copied()).unwrap(),
        body: body.to_owned(),
        ..Request::default()
    };
    v1::ServiceSpec {
        request: Some((&request).into()),
        ..spec("http")
    }
}

fn http(facts: &super::Findings) -> &HttpFacts {
    facts.facts.http.as_ref().unwrap()
}

#[tokio::test]
async fn an_answer_is_held_against_what_is_expected() {
    use Failure as F;
    const WELCOME: &str = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n<h1>Welcome</h1>";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nWel\r\n4\r\ncome\r\n0\r\n\r\n";
    const GONE: &str = "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nGone";
    const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nWelcome";
    let rows: [(&[&str], &str, &str, Option<Failure>); 14] = [
        (&["2xx"], "", WELCOME, None),
        (&["2xx"], "Welcome", WELCOME, None),
        (&[], "Welcome", WELCOME, None),
        (&[], "/(?i)<h1>welcome/", WELCOME, None),
        (&[], "Welcome", CHUNKED, None),
        (&["404"], "", GONE, None),
        (&["4xx"], "Gone", GONE, None),
        (&["2xx"], "", GONE, Some(F::UnexpectedStatus(404))),
        (&["404"], "", WELCOME, Some(F::UnexpectedStatus(200))),
        (&["2xx"], "Sold out", WELCOME, Some(F::UnexpectedBody)),
        (&["2xx"], "/^Welcome/", WELCOME, Some(F::UnexpectedBody)),
        (&["2xx"], "Welcome", EMPTY, Some(F::UnexpectedBody)),
        // A status that is not expected says more than a body that goes with it.
        (&["2xx"], "Welcome", GONE, Some(F::UnexpectedStatus(404))),
        // What did not come whole is not judged.
        (&["2xx"], "Welcome", CUT, Some(F::BodyTruncated)),
    ];
    for (statuses, body, answer, failure) in rows {
        let (address, _server) = serve(answer, Close).await;
        let findings = probe(expecting(statuses, body), vip(address)).await;
        let ended = match findings.outcome {
            Outcome::Passed => None,
            _ => Some(failed(&findings)),
        };
        let expected = failure.map(|failure| (Layer::Http, failure));
        assert_eq!(ended, expected, "{statuses:?} {body:?} {answer:?}");
        assert!(findings.facts.http.is_some(), "the facts are told as well");
    }
}

#[tokio::test]
async fn a_first_byte_that_comes_too_late_fails() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            super::request(&mut stream).await;
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
                .await
                .unwrap();
        }
    });
    for (limit, late) in [(100, true), (5000, false)] {
        let with = v1::ServiceSpec {
            expect: Some(v1::Expect {
                max_first_byte_ms: limit,
                ..v1::Expect::default()
            }),
            ..spec("http")
        };
        let findings = probe(with, vip(address)).await;
        let Outcome::Failed { failure, after, .. } = findings.outcome else {
            assert!(!late, "{findings:?}");
            continue;
        };
        assert!(late, "{findings:?}");
        assert_eq!(failure, Failure::LateFirstByte);
        assert!(after.0 >= 150_000, "{after:?}");
        assert_eq!(layers(&findings), [Layer::Tcp]);
    }
}

/// Who accepts gzip says so, and what a packed page says is what is looked into and compared.
#[tokio::test]
async fn a_packed_page_is_the_page() {
    let mut digests = Vec::new();
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = super::request(&mut stream).await;
            let (said, page) = match asked.contains("accept-encoding: gzip\r\n") {
                true => ("gzip", packed(b"<h1>Welcome</h1>")),
                false => ("identity", b"<h1>Welcome</h1>".to_vec()),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {said}\r\nContent-Length: {}\r\n\r\n",
                page.len()
            );
            let answer = [head.into_bytes(), page].concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &answer)
                .await
                .unwrap();
        });
        let arm = Arm::to(vip(address)).twin(encoding);
        let findings = probe_arm(expecting(&[], "Welcome"), arm).await;
        assert_eq!(findings.outcome, Outcome::Passed, "{findings:?}");
        let facts = http(&findings);
        assert_eq!(facts.body_bytes == 16, encoding == Encoding::Identity);
        digests.push(facts.body_digest.clone());
    }
    assert_eq!(digests[0], digests[1]);
}

/// Whoever was there before sends the cookies that it was given, and is told of as such; what these say goes
/// to the server alone.
#[tokio::test]
async fn a_cookie_is_kept_and_shown_to_nobody() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=web2secret; path=/\r\nX-Echo: \
                          SRV=web2secret\r\nContent-Length: 2\r\n\r\nok";
    let earlier = Earlier {
        port: None,
        jar: Some(Arc::default()),
    };
    for (session, cookie) in [
        (Session::New, None),
        (Session::Kept, Some("own=1; SRV=web2secret")),
    ] {
        let (address, server) = take_and_answer(ANSWER).await;
        let with = asking(Method::Get, &[("Cookie", "own=1")], "");
        let arm = Arm::to(vip(address)).twin(Session::Kept);
        let (fired, findings) = probe_after(earlier.clone(), with, arm).await;
        assert_eq!(fired.traits.session, session);
        assert_eq!(findings.outcome, Outcome::Passed, "{findings:?}");
        let asked = server.await.unwrap();
        let expected = format!("cookie: {}\r\n", cookie.unwrap_or("own=1"));
        assert!(asked.contains(&expected), "{asked}");
        let headers = &http(&findings).headers;
        let given = ("set-cookie".to_owned(), "(hidden)".to_owned());
        assert!(headers.contains(&given), "{headers:?}");
        if session == Session::Kept {
            assert!(!format!("{findings:?}").contains("web2secret"));
        }
    }
}

/// Answers one request, and gives what was asked.
async fn take_and_answer(
    answer: &'static str,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = super::request(&mut stream).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes())
            .await
            .unwrap();
        asked
    });
    (address, server)
}

fn packed(page: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, page).unwrap();
    gzip.finish().unwrap()
}

/// What is expected is told of the page that the url names.
#[tokio::test]
async fn of_other_pages_no_body_is_expected() {
    let sold_out = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSold out";
    let backend = |path: &str| v1::ServiceSpec {
        large_path: "/app.js".to_owned(),
        backends: vec![v1::service_spec::BackendRequest {
            name: "web1".to_owned(),
            scheme: "http".to_owned(),
            path: path.to_owned(),
        }],
        ..expecting(&["404"], "Welcome")
    };
    let arm = |address, object: Object| {
        let target = Target::Backend {
            name: "web1".to_owned(),
            address,
        };
        Arm::to(target).twin(object)
    };
    let rows = [
        ("/cart?x=1", Object::Usual, false),
        ("/health", Object::Usual, true),
        ("/cart?x=1", Object::Large, true),
    ];
    for (path, object, passes) in rows {
        let (address, _server) = serve(sold_out, Close).await;
        let findings = probe_arm(backend(path), arm(address, object)).await;
        let passed = findings.outcome == Outcome::Passed;
        assert_eq!(passed, passes, "{path} {object:?}: {findings:?}");
    }
}

/// Serves one connection and returns the request with a body of so many bytes.
async fn take(bytes: usize) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = super::request(&mut stream).await;
        let mut body = vec![0; bytes];
        stream.read_exact(&mut body).await.unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
            .await
            .unwrap();
        finish(stream, Close).await;
        head + &String::from_utf8(body).unwrap()
    });
    (address, server)
}

#[tokio::test]
async fn it_is_asked_as_the_service_file_says() {
    // The value is that of a variable that Cargo sets.
    let headers = [
        ("Authorization", "env:CARGO_PKG_NAME"),
        ("User-Agent", "Mozilla/5.0"),
        ("X-Shop", "a b"),
    ];
    let (address, server) = take(2).await;
    let findings = probe(asking(Method::Post, &headers, "{}"), vip(address)).await;
    assert_eq!(findings.outcome, Outcome::Passed, "{findings:?}");
    let asked = server.await.unwrap();
    assert!(asked.starts_with("POST /cart?x=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{}"), "{asked}");
    for line in [
        "authorization: probe-agent\r\n",
        "user-agent: Mozilla/5.0\r\n",
        "x-shop: a b\r\n",
        "content-length: 2\r\n",
        "host: shop.example:8443\r\n",
        "mesh-round: 7\r\n",
    ] {
        assert!(asked.contains(line), "{line} is not in {asked}");
    }
    assert!(!asked.contains("mesh-probe"), "{asked}");
}

#[tokio::test]
async fn each_method_is_asked_by() {
    let rows = [
        (Method::Head, "HEAD "),
        (Method::Options, "OPTIONS "),
        (Method::Get, "GET "),
        (Method::Post, "POST "),
    ];
    for (method, begins) in rows {
        let (address, server) = take(0).await;
        let findings = probe(asking(method, &[], ""), vip(address)).await;
        assert_eq!(findings.outcome, Outcome::Passed, "{method:?}");
        let asked = server.await.unwrap();
        assert!(asked.starts_with(begins), "{asked}");
        let length = asked.contains("content-length: 0\r\n");
        assert_eq!(length, method == Method::Post, "{asked}");
    }
}

/// An answer to HEAD has the length of a body, and no body.
#[tokio::test]
async fn an_answer_to_head_is_whole_without_a_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let (address, _server) = serve(answer, Wait).await;
    let mut with = asking(Method::Head, &[], "");
    with.expect = Some(v1::Expect {
        body: "Welcome".to_owned(),
        ..v1::Expect::default()
    });
    let findings = probe(with, vip(address)).await;
    assert_eq!(findings.outcome, Outcome::Passed, "{findings:?}");
    assert_eq!(http(&findings).body_bytes, 0);
}

/// A large object is fetched, however the service itself is asked, and with the same headers.
#[tokio::test]
async fn the_large_object_is_fetched() {
    let with = v1::ServiceSpec {
        large_path: "/app.js".to_owned(),
        ..asking(Method::Post, &[("X-Shop", "a")], "{}")
    };
    let (address, server) = take(0).await;
    let arm = Arm::to(vip(address)).twin(Object::Large);
    let findings = probe_arm(with, arm).await;
    assert_eq!(findings.outcome, Outcome::Passed, "{findings:?}");
    let asked = server.await.unwrap();
    assert!(asked.starts_with("GET /app.js HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-shop: a\r\n"), "{asked}");
}

#[tokio::test]
async fn a_redirect_says_where_it_leads() {
    use Redirect as R;
    let rows = [
        ("301 Moved", "/other", R::Within),
        ("302 Found", "https://shop.example/", R::Within),
        ("308 x", "http://WWW.Shop.Example:9000/x", R::Within),
        ("307 x", "//shop.example./x", R::Within),
        ("303 x", "?page=2", R::Within),
        ("302 Found", "https://parking.example/", R::Elsewhere),
        ("302 Found", "//login.shop.example/", R::Elsewhere),
        (
            "302 Found",
            "https://shop.example.evil.example/",
            R::Elsewhere,
        ),
        ("302 Found", "https://192.0.2.1/", R::Elsewhere),
        ("302 Found", "mailto:shop@shop.example", R::Elsewhere),
        ("302 Found", "ftp://shop.example/", R::Elsewhere),
        ("302 Found", "http://[", R::Elsewhere),
        ("201 Created", "https://parking.example/", R::None),
        ("304 Not Modified", "https://parking.example/", R::None),
    ];
    for (status, location, redirect) in rows {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let (address, _server) = serve(answer.leak(), Close).await;
        let findings = probe(spec("http"), vip(address)).await;
        assert_eq!(findings.outcome, Outcome::Passed, "{location}");
        assert_eq!(http(&findings).redirect, redirect, "{status} {location}");
    }
}

/// A server that sends back what it was sent tells nobody else.
#[tokio::test]
async fn a_secret_that_comes_back_is_hidden() {
    let answer = "HTTP/1.1 302 Found\r\nX-Echo: key=probe-agent\r\nX-Probe-Agent: 1\r\nServer: nginx\r\n\
                  Location: /login?key=%70robe-agent\r\nContent-Length: 0\r\n\r\n";
    let (address, _server) = serve(answer, Close).await;
    let headers = [("Authorization", "env:CARGO_PKG_NAME")];
    let findings = probe(asking(Method::Get, &headers, ""), vip(address)).await;
    let told = format!("{findings:?}").to_lowercase();
    assert!(!told.contains("probe-agent"), "{told}");
    assert!(!told.contains("%70robe"), "{told}");
    let headers = &http(&findings).headers;
    assert!(headers.contains(&("server".into(), "nginx".into())));
    assert!(headers.contains(&("location".into(), "(hidden)".into())));
}
