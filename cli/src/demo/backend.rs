//! A backend: one page over HTTP/1.1.

use std::io;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use super::fault::Fault;
use super::plan::BACKENDS;
use super::serve::{self, Body, Faults};

const PAGE: &str = "<!doctype html><title>shop</title><p>Welcome to the shop.</p>\n";
const OTHER_PAGE: &str = "<!doctype html><title>nginx</title><p>Welcome to nginx!</p>\n";
const ERROR_PAGE: &str = "<!doctype html><title>500</title><p>Internal server error.</p>\n";
/// How much longer a slow backend takes.
const SLOW: Duration = Duration::from_millis(1500);
/// The same where it is slow by what users just notice.
const LATE: Duration = Duration::from_millis(300);
/// Time for half a page to pass edge and balancer.
const FLUSH: Duration = Duration::from_millis(50);
/// One request in so many fails where it fails sometimes.
const SOMETIMES: u32 = 5;

/// Serves until the path is taken down. `index` is the backend's place among [`BACKENDS`].
pub async fn run(index: usize, listener: TcpListener, faults: Faults) {
    let closed = match index {
        0 => |fault| fault == Fault::BackendClosed,
        _ => |_| false,
    };
    let seen = faults.clone();
    serve::accept(listener, faults, closed, |stream| {
        connection(index, stream, *seen.borrow())
    })
    .await;
}

async fn connection(index: usize, mut stream: TcpStream, fault: Fault) {
    if fault == Fault::BackendResets && index == 2 {
        if serve::read_header(&mut stream).await {
            serve::reset(&stream);
        }
        return;
    }
    serve::http(stream, |_| request(index, fault)).await;
}

async fn request(index: usize, fault: Fault) -> Response<Body> {
    match (fault, index) {
        (Fault::Backend500, 1) => return failed(),
        (Fault::Backend500Sometimes, 1) if rand::random_ratio(1, SOMETIMES) => return failed(),
        (Fault::BackendSlow, 2) => tokio::time::sleep(SLOW).await,
        (Fault::BackendSlow300Ms, 1) => tokio::time::sleep(LATE).await,
        _ => {}
    }
    let mut answer = match (fault, index) {
        (Fault::BackendTruncates, 0) => half(),
        (Fault::BackendWrongBody, 1) => serve::answer(StatusCode::OK, OTHER_PAGE),
        _ => serve::answer(StatusCode::OK, PAGE),
    };
    let name = HeaderValue::from_static(BACKENDS[index]);
    answer.headers_mut().insert("x-served-by", name);
    answer
}

fn failed() -> Response<Body> {
    serve::answer(StatusCode::INTERNAL_SERVER_ERROR, ERROR_PAGE)
}

/// The length of the whole page is announced, half of it comes.
fn half() -> Response<Body> {
    let first = Bytes::from_static(&PAGE.as_bytes()[..PAGE.len() / 2]);
    let end = async {
        // What is not written yet when the body fails is never written.
        tokio::time::sleep(FLUSH).await;
        Err(io::Error::other("the page ends half-way"))
    };
    let frames = stream::iter([Ok(Frame::data(first))]).chain(stream::once(end));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(PAGE.len()));
    answer
}
