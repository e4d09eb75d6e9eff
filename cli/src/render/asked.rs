//! How a service is asked and what a good answer is, as lines.

use proto::json::status_class;
use proto::v1::{Expect, RequestSpec, StatusRange};

use super::micros;

/// How it is asked, in a line.
pub fn request(request: Option<&RequestSpec>) -> String {
    let Some(request) = request else {
        return "GET".to_owned();
    };
    let headers = request.headers.iter();
    let headers = headers.map(|header| format!("{}: {}", header.name, header.value));
    let body = match request.body.len() {
        0 => None,
        bytes => Some(format!("a body of {bytes} bytes")),
    };
    let only = match request.http.as_slice() {
        [only] => Some(format!("HTTP/{only} only")),
        _ => None,
    };
    let method = std::iter::once(request.method.clone());
    let parts = method.chain(headers).chain(body).chain(only);
    parts.collect::<Vec<_>>().join(", ")
}

/// What a good answer is, in a line.
pub fn expect(expect: Option<&Expect>) -> String {
    let Some(expect) = expect else {
        return "any status below 400".to_owned();
    };
    let statuses = expect.statuses.iter().map(|range| match *range {
        StatusRange { first, last } if first == last => first.to_string(),
        StatusRange { first, .. } => status_class(first),
    });
    let statuses: Vec<String> = statuses.collect();
    let status = match statuses.is_empty() {
        true => "any status below 400".to_owned(),
        false => format!("status {}", statuses.join(", ")),
    };
    let body = Some(&expect.body).filter(|body| !body.is_empty());
    let body = body.map(|body| format!("{body:?} in the body"));
    let limit = Some(u64::from(expect.max_first_byte_ms)).filter(|limit| *limit > 0);
    let limit = limit.map(|ms| format!("first byte within {}", micros(ms * 1000)));
    let parts = std::iter::once(status).chain(body).chain(limit);
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proto::v1::Header;

    use super::*;

    fn post() -> RequestSpec {
        RequestSpec {
            method: "POST".to_owned(),
            headers: vec![Header {
                name: "authorization".to_owned(),
                value: "env:SHOP_TOKEN".to_owned(),
            }],
            body: "{}".to_owned(),
            http: vec!["2".to_owned()],
        }
    }

    fn welcome() -> Expect {
        let status = |first, last| StatusRange { first, last };
        Expect {
            statuses: vec![status(200, 299), status(301, 301)],
            body: "Welcome".to_owned(),
            max_first_byte_ms: 2000,
        }
    }

    #[test]
    fn a_line_says_it() {
        let said = "POST, authorization: env:SHOP_TOKEN, a body of 2 bytes, HTTP/2 only";
        assert_eq!(request(Some(&post())), said);
        assert_eq!(request(None), "GET");
        let said = "status 2xx, 301, \"Welcome\" in the body, first byte within 2.0 s";
        assert_eq!(expect(Some(&welcome())), said);
        assert_eq!(expect(None), "any status below 400");
    }
}
