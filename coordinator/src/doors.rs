//! Accepting connections: one door for who shows a certificate of this mesh, and one for strangers, who may
//! only join. Strangers get little time, little memory and places of their own; what they do holds up
//! nobody who is known.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::crowd::{Bounds, Crowd, Place};
use crate::tls::{Peer, PeerCertificate};

/// A handshake takes one round trip; five seconds are for links that lose packets.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes under way: each takes some ten kilobytes. Whoever says nothing leaves for others after a
/// second, so that this many come in each second whatever the silent ones do. A fleet behind one address
/// comes back all at once, so an address has no share here.
const HANDSHAKES: Bounds = Bounds {
    all: 2048,
    each: 2048,
    patience: Duration::from_secs(1),
};
/// Connections without a client certificate: they can only join, which takes a second.
const STRANGERS: Bounds = Bounds {
    all: 64,
    each: 8,
    patience: Duration::ZERO,
};
/// Time of a stranger from the handshake on, whatever it does.
const STRANGERS_TIME: Duration = Duration::from_secs(10);
/// Connections handed over and not yet taken by the server, which takes them at once.
const HANDED_OVER: usize = 64;
/// Pause after the kernel refused to accept, which it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause while there is no room for another handshake.
const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// A connection whose handshake is done.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Of a stranger.
    visit: Option<Visit>,
}

/// A stranger's time.
struct Visit {
    over: Pin<Box<Sleep>>,
    taken_away: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl Visit {
    fn new(place: Place) -> Self {
        Self {
            over: Box::pin(tokio::time::sleep(STRANGERS_TIME)),
            taken_away: Box::pin(place.taken_away().clone().cancelled_owned()),
            _place: place,
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over.as_mut().poll(context).is_ready()
            || self.taken_away.as_mut().poll(context).is_ready()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A server reads whenever it has nothing else to do, so that no visit outlives its time.
        if self.visit.as_mut().is_some_and(|v| v.is_over(context)) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What comes in.
pub struct Doors {
    /// With a certificate of this mesh.
    pub known: mpsc::Receiver<Result<Connection, io::Error>>,
    /// Without.
    pub strangers: mpsc::Receiver<Result<Connection, io::Error>>,
}

/// Where those go whose handshake is done.
#[derive(Clone)]
struct Handing {
    known: mpsc::Sender<Result<Connection, io::Error>>,
    strangers: mpsc::Sender<Result<Connection, io::Error>>,
    crowd: Arc<Crowd>,
}

/// Accepts connections until `stop`, and hands those over whose handshake succeeds.
#[must_use]
pub fn accept(listener: TcpListener, config: ServerConfig, stop: CancellationToken) -> Doors {
    let (known, known_taken) = mpsc::channel(HANDED_OVER);
    let (strangers, strangers_taken) = mpsc::channel(HANDED_OVER);
    let handing = Handing {
        known,
        strangers,
        crowd: Crowd::new(STRANGERS),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept_all(listener, config, handing) => {}
        }
    });
    Doors {
        known: known_taken,
        strangers: strangers_taken,
    }
}

async fn accept_all(listener: TcpListener, config: ServerConfig, handing: Handing) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handshakes = Crowd::new(HANDSHAKES);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = loop {
            match handshakes.enter(address.ip(), Instant::now()) {
                Some(place) => break place,
                None => tokio::time::sleep(CROWDED_PAUSE).await,
            }
        };
        let (acceptor, handing) = (acceptor.clone(), handing.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                () = place.taken_away().cancelled() => Err(io::ErrorKind::TimedOut.into()),
                () = tokio::time::sleep(HANDSHAKE_LIMIT) => Err(io::ErrorKind::TimedOut.into()),
                shaken = shake(acceptor, stream, address) => shaken,
            };
            drop(place);
            match shaken {
                Ok((stream, peer)) => handing.hand_over(stream, peer).await,
                Err(error) => tracing::debug!(%address, %error, "handshake failed"),
            }
        });
    }
}

impl Handing {
    async fn hand_over(self, stream: TlsStream<TcpStream>, peer: Peer) {
        let (door, visit) = match peer.certificate {
            Some(_) => (self.known, None),
            None => match self.crowd.enter(peer.address.ip(), Instant::now()) {
                Some(place) => (self.strangers, Some(Visit::new(place))),
                None => return,
            },
        };
        let connection = Connection {
            stream,
            peer,
            visit,
        };
        // Nobody takes connections when the server is going down.
        let _ = door.send(Ok(connection)).await;
    }
}

async fn shake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    // Clock replies and announcements are small and must not wait for more.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let certificate = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(PeerCertificate::read);
    let peer = Peer {
        address,
        certificate,
    };
    Ok((stream, peer))
}
