//! An edge of a CDN: `lab edge`. It ends TLS for the service, fetches from the origin over TLS with
//! the origin's certificate verified, and answers trouble with the origin with the statuses that
//! Cloudflare documents (520 to 526).

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use socket2::SockRef;

use crate::address::{HOMES, SERVICE};
use crate::behaviour::{self, EdgeBehaviour};
use crate::cache::CACHE;

/// The origin must accept a connection within this time (Cloudflare waits 15 s or more). Below the
/// probes' own limit, so that the edge's answer is seen and not the probe's time-out.
const CONNECT: Duration = Duration::from_secs(2);
/// The origin must answer within this time (Cloudflare waits 100 s).
const ANSWER: Duration = Duration::from_millis(5200);
/// How long a stalled connection is held open; longer than any probe waits.
const STALL: Duration = Duration::from_secs(60);
/// A head longer than this is nobody's.
const HEAD_LIMIT: u64 = 32 * 1024;

/// Settings of an edge.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Edge {
    /// Address and port to listen on
    #[arg(long)]
    pub listen: SocketAddr,
    /// The origin's address and port
    #[arg(long)]
    pub origin: SocketAddr,
    /// File with the service's certificate and key
    #[arg(long)]
    pub certificate: PathBuf,
    /// File with the same certificate and key without the intermediates, to be shown when told so
    #[arg(long)]
    pub lone: PathBuf,
    /// File with an expired certificate and its key, to be shown when told so
    #[arg(long)]
    pub expired: PathBuf,
    /// Trust anchors for the origin's certificate
    #[arg(long)]
    pub ca: PathBuf,
    /// File that tells how to behave
    #[arg(long)]
    pub behaviour: PathBuf,
}

/// Trouble with the origin, as the CDN tells it to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// 520: an empty or broken answer.
    Unknown = 520,
    /// 521: the connection was refused.
    Down = 521,
    /// 522: the connection was not answered.
    ConnectTimeout = 522,
    /// 523: there is no route.
    Unreachable = 523,
    /// 524: no answer in time.
    AnswerTimeout = 524,
    /// 525: the TLS handshake failed.
    Handshake = 525,
    /// 526: the certificate is not valid.
    Certificate = 526,
}

/// What an edge needs for every connection.
struct Parts {
    edge: Edge,
    good: Arc<ServerConfig>,
    lone: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    origin: Arc<ClientConfig>,
}

type Origin = StreamOwned<ClientConnection, TcpStream>;

/// Serves until it is killed.
pub fn serve(edge: Edge) -> Result<()> {
    let mut anchors = RootCertStore::empty();
    for anchor in CertificateDer::pem_file_iter(&edge.ca)? {
        anchors.add(anchor?)?;
    }
    let origin = ClientConfig::builder()
        .with_root_certificates(anchors)
        .with_no_client_auth();
    let parts = Arc::new(Parts {
        good: server_config(&edge.certificate)?,
        lone: server_config(&edge.lone)?,
        expired: server_config(&edge.expired)?,
        origin: Arc::new(origin),
        edge,
    });
    let listener = TcpListener::bind(parts.edge.listen)
        .with_context(|| format!("bind {}", parts.edge.listen))?;
    for stream in listener.incoming().flatten() {
        let parts = Arc::clone(&parts);
        thread::spawn(move || {
            if let Err(error) = answer(stream, &parts) {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

fn server_config(file: &Path) -> Result<Arc<ServerConfig>> {
    let text = fs::read(file).with_context(|| format!("{}", file.display()))?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&text)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn answer(stream: TcpStream, parts: &Parts) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.set_nodelay(true)?;
    let behaviour = behaviour::read(&parts.edge.behaviour)?;
    let config = match behaviour {
        EdgeBehaviour::ExpiredCertificate => &parts.expired,
        EdgeBehaviour::LacksIntermediate => &parts.lone,
        EdgeBehaviour::Proxy
        | EdgeBehaviour::Answer { .. }
        | EdgeBehaviour::Stall
        | EdgeBehaviour::Reset { .. }
        | EdgeBehaviour::Reframe
        | EdgeBehaviour::Cached
        | EdgeBehaviour::HomesOnly { .. } => &parts.good,
    };
    let at_home = stream.peer_addr().is_ok_and(|peer| is_home(peer.ip()));
    let session = ServerConnection::new(Arc::clone(config))?;
    let mut client = StreamOwned::new(session, stream);
    let Ok(request) = read_head(&mut BufReader::new(&mut client)) else {
        // A client that leaves in the handshake or before its request is no trouble of the edge.
        return Ok(());
    };
    match behaviour {
        EdgeBehaviour::Answer { status } => refuse(&mut client, status)?,
        EdgeBehaviour::Stall => thread::sleep(STALL),
        EdgeBehaviour::Reset { share } if rand::random::<f64>() < share => {
            SockRef::from(&client.sock).set_linger(Some(Duration::ZERO))?;
            return Ok(());
        }
        EdgeBehaviour::HomesOnly { status } if !at_home => refuse(&mut client, status)?,
        EdgeBehaviour::Cached => match look_up(&request) {
            Ok((head, rest)) => relay(&mut client, &head, rest)?,
            Err(trouble) => refuse(&mut client, trouble as u16)?,
        },
        EdgeBehaviour::Reframe => match fetch(&plainly(&request), parts) {
            Ok((head, rest)) => reframe(&mut client, &head, rest)?,
            Err(trouble) => refuse(&mut client, trouble as u16)?,
        },
        EdgeBehaviour::Reset { .. }
        | EdgeBehaviour::Proxy
        | EdgeBehaviour::ExpiredCertificate
        | EdgeBehaviour::LacksIntermediate
        | EdgeBehaviour::HomesOnly { .. } => match fetch(&request, parts) {
            Ok((head, rest)) => relay(&mut client, &head, rest)?,
            Err(trouble) => refuse(&mut client, trouble as u16)?,
        },
    }
    client.conn.send_close_notify();
    client.flush()?;
    Ok(())
}

/// Whether somebody asks from one of the home networks.
fn is_home(address: IpAddr) -> bool {
    let homes = HOMES
        .iter()
        .filter_map(|home| home.parse::<Ipv4Addr>().ok());
    let network = |address: Ipv4Addr| address.octets()[..3].to_vec();
    match address {
        IpAddr::V4(address) => homes.map(network).any(|home| home == network(address)),
        IpAddr::V6(_) => false,
    }
}

/// Reads up to and with the empty line.
fn read_head(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    let mut from = from.take(HEAD_LIMIT);
    loop {
        let start = head.len();
        if from.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if head[start..].trim_end().is_empty() {
            return Ok(head);
        }
    }
}

/// Sends the request to the origin and reads the head of its answer.
fn fetch(request: &str, parts: &Parts) -> Result<(String, BufReader<Origin>), Trouble> {
    ask(connect(parts)?, request)
}

/// The same from the edge's own cache.
fn look_up(request: &str) -> Result<(String, BufReader<TcpStream>), Trouble> {
    let cache = TcpStream::connect(CACHE).map_err(|_| Trouble::Unknown)?;
    let limit = cache.set_read_timeout(Some(ANSWER));
    limit.map_err(|_| Trouble::Unknown)?;
    ask(cache, request)
}

fn ask<S: Read + Write>(mut origin: S, request: &str) -> Result<(String, BufReader<S>), Trouble> {
    let mut head = request.trim_end().to_owned();
    if !head.to_ascii_lowercase().contains("\r\nconnection:") {
        head.push_str("\r\nConnection: close");
    }
    head.push_str("\r\n\r\n");
    let sent = origin
        .write_all(head.as_bytes())
        .and_then(|()| origin.flush());
    sent.map_err(|_| Trouble::Unknown)?;
    let mut reader = BufReader::new(origin);
    match read_head(&mut reader) {
        Ok(answer) if answer.starts_with("HTTP/1.") => Ok((answer, reader)),
        Ok(_) => Err(Trouble::Unknown),
        Err(error) if timed_out(&error) => Err(Trouble::AnswerTimeout),
        Err(_) => Err(Trouble::Unknown),
    }
}

fn connect(parts: &Parts) -> Result<Origin, Trouble> {
    let mut stream = TcpStream::connect_timeout(&parts.edge.origin, CONNECT).map_err(|error| {
        if error.kind() == ErrorKind::ConnectionRefused {
            Trouble::Down
        } else if timed_out(&error) {
            Trouble::ConnectTimeout
        } else {
            Trouble::Unreachable
        }
    })?;
    let limits = stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| stream.set_nodelay(true));
    limits.map_err(|_| Trouble::Unknown)?;
    let name = ServerName::try_from(SERVICE).map_err(|_| Trouble::Handshake)?;
    let mut session =
        ClientConnection::new(Arc::clone(&parts.origin), name).map_err(|_| Trouble::Handshake)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream).map_err(|error| {
            let cause = error
                .get_ref()
                .and_then(|e| e.downcast_ref::<rustls::Error>());
            match cause {
                Some(rustls::Error::InvalidCertificate(_)) => Trouble::Certificate,
                Some(_) | None => Trouble::Handshake,
            }
        })?;
    }
    Ok(StreamOwned::new(session, stream))
}

fn timed_out(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut || error.kind() == ErrorKind::WouldBlock
}

/// The origin's head, with the edge's own headers in place of these of the origin's.
fn own_head(head: &str, replaced: &[&str]) -> String {
    let mut out = String::new();
    for line in head.trim_end().split("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        if !replaced.iter().any(|r| name.eq_ignore_ascii_case(r)) {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str(&own_headers());
    out
}

/// Takes up what the origin sends and passes it on as the whole answer, as an edge does that packs or
/// stores what passes.
fn reframe(client: &mut impl Write, head: &str, mut rest: impl Read) -> Result<()> {
    let mut body = Vec::new();
    // An origin that ends early has sent what it has sent.
    let _ = rest.read_to_end(&mut body);
    let mut out = own_head(head, &["server", "connection", "content-length"]);
    out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    client.write_all(out.as_bytes())?;
    client.write_all(&body)?;
    Ok(())
}

/// Passes the origin's answer on as it comes.
fn relay(client: &mut impl Write, head: &str, mut rest: impl Read) -> Result<()> {
    let mut out = own_head(head, &["server", "connection"]);
    out.push_str("\r\n");
    client.write_all(out.as_bytes())?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // An origin that ends early ends the answer early: the user sees a truncated body.
        match rest.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(n) => client.write_all(&buffer[..n])?,
        }
    }
}

/// A request without a word on packing: who takes an answer up to frame it anew wants it as it is.
fn plainly(request: &str) -> String {
    let says = |line: &str| line.to_ascii_lowercase().starts_with("accept-encoding:");
    let lines = request.split_inclusive('\n');
    lines.filter(|line| !says(line)).collect()
}

/// Answers by itself that something is wrong.
fn refuse(client: &mut impl Write, status: u16) -> Result<()> {
    let body = format!("error code: {status}\n");
    hand_out(
        client,
        &format!("{status} Error"),
        "text/plain",
        body.as_bytes(),
    )
}

/// Answers by itself.
fn hand_out(client: &mut impl Write, status: &str, kind: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        own_headers(),
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body)?;
    Ok(())
}

fn own_headers() -> String {
    let ray = rand::random::<u64>();
    format!("Server: cloudflare\r\nCF-RAY: {ray:016x}-LAB\r\nConnection: close\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_empty_line() {
        let mut input: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        assert_eq!(
            read_head(&mut input).unwrap(),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        assert_eq!(input, b"body");
    }

    #[test]
    fn only_homes_are_homes() {
        let rows = [
            ("198.18.1.10", true),
            ("198.18.2.77", true),
            ("10.0.5.5", false),
            ("198.51.100.35", false),
        ];
        for (address, home) in rows {
            assert_eq!(is_home(address.parse().unwrap()), home, "{address}");
        }
    }

    #[test]
    fn packing_is_left_out_of_a_plain_request() {
        assert_eq!(
            plainly("GET / HTTP/1.1\r\nAccept-Encoding: br, gzip\r\nHost: a\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        );
    }

    #[test]
    fn an_edge_names_itself_in_the_origins_place() {
        let head = "HTTP/1.1 200 OK\r\nserver: nginx\r\nContent-Length: 9\r\nX-A: b\r\n\r\n";
        let own = own_head(head, &["Server", "content-length"]);
        assert!(own.starts_with("HTTP/1.1 200 OK\r\nX-A: b\r\nServer: cloudflare\r\n"));
    }

    #[test]
    fn a_head_that_ends_early_is_an_error() {
        let mut input: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n";
        assert!(read_head(&mut input).is_err());
    }
}
