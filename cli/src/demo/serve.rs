//! What all the servers of the path share: listeners that can close, TLS, HTTP/1.1 in and out.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::fault::Fault;

/// The body of an answer, the server's own or passed on as it comes.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;
/// The fault in force, for everybody to look at.
pub type Faults = watch::Receiver<Fault>;

/// Connections waiting to be accepted: more than all arms of all agents at once.
const BACKLOG: u32 = 256;
/// Longest request header that is waited for before a reset.
const LONGEST_HEADER: usize = 16 << 10;
/// Pause before an address that just closed is tried again.
const REOPEN: Duration = Duration::from_millis(50);

/// A listening socket at exactly this address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections for ever; while `closed` says so of the fault in force, nobody listens.
pub async fn accept<F>(
    listener: TcpListener,
    mut faults: Faults,
    closed: fn(Fault) -> bool,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    loop {
        if closed(*faults.borrow_and_update()) {
            listener = None;
        } else if listener.is_none() {
            listener = bind(address).ok();
        }
        let Some(open) = &listener else {
            tokio::select! {
                gone = faults.changed() => if gone.is_err() { return },
                () = tokio::time::sleep(REOPEN) => {}
            }
            continue;
        };
        tokio::select! {
            gone = faults.changed() => if gone.is_err() { return },
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(serve(stream));
            },
        }
    }
}

/// Serves one connection's requests.
pub async fn http<S, F>(stream: S, handler: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<Body>>,
{
    let service = hyper::service::service_fn(|request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A client that goes away is no event here.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Reads a request's header and nothing more.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut header = Vec::new();
    let mut buffer = [0; 2048];
    while header.len() < LONGEST_HEADER {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => header.extend_from_slice(&buffer[..length]),
        }
        if header.windows(4).any(|end| end == b"\r\n\r\n") {
            return true;
        }
    }
    false
}

/// Ends the connection with a reset instead of a FIN (`SO_LINGER` of zero, socket(7)).
pub fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// A connection from the server's own address.
pub async fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(to).await
}

/// Passes a request on over a fresh connection and returns the answer with its body still coming.
pub async fn forward<S>(stream: S, mut request: Request<Incoming>) -> hyper::Result<Response<Body>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    hop_by_hop(request.headers_mut());
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut answer = sender.send_request(request).await?;
    hop_by_hop(answer.headers_mut());
    Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

/// Takes out what concerns one connection only (RFC 9110 section 7.6.1).
fn hop_by_hop(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove("keep-alive");
}

/// An answer with a body of its own.
pub fn answer(status: StatusCode, page: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(page.as_bytes()))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// The two identities of a TLS server, chosen for each connection.
#[derive(Clone)]
pub struct Identities {
    /// In order.
    pub valid: Arc<rustls::ServerConfig>,
    /// Past its notAfter.
    pub expired: Arc<rustls::ServerConfig>,
}

impl Identities {
    /// The handshake of a new connection.
    pub async fn accept(
        &self,
        stream: TcpStream,
        expired: bool,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let config = if expired { &self.expired } else { &self.valid };
        tokio_rustls::TlsAcceptor::from(Arc::clone(config))
            .accept(stream)
            .await
    }
}
