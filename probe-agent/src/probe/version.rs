//! Which version of HTTP is spoken with whom: HTTP/1.1, or HTTP/2 with a server that speaks nothing else.
//!
//! A connection offers one version alone (RFC 7301): offered both, most servers take HTTP/2, and what
//! is compared would hang on the taste of each. A server that refuses the one is asked again in the other
//! on a second connection, and remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use localize::{Failure, HttpVersion, Layer, Scheme, Target};
use proto::spec::Versions;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::http::{self, Stopped};
use super::{Connection, End, Ladder, aimed_at, tcp, tls};
use crate::{failure, fire};

/// The version that each of a service's servers was last heard to speak.
#[derive(Debug, Default)]
pub struct Spoken(Mutex<BTreeMap<Target, HttpVersion>>);

/// Most servers remembered: twice what the largest plan has arms. Beyond it all are asked anew.
const MAX_REMEMBERED: usize = 1024;

impl Spoken {
    fn by(&self, target: &Target) -> Option<HttpVersion> {
        self.map().get(target).copied()
    }

    pub(super) fn keep(&self, target: &Target, version: HttpVersion) {
        let mut map = self.map();
        if map.len() >= MAX_REMEMBERED && !map.contains_key(target) {
            map.clear();
        }
        map.insert(target.clone(), version);
    }

    /// Who does not answer in HTTP/2 any more is asked in HTTP/1.1 again.
    fn doubt(&self, target: &Target) {
        self.map().remove(target);
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Target, HttpVersion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of speaking one version.
enum Attempt {
    /// The probe is over.
    Over(End),
    /// The server speaks this version instead.
    Speaks(HttpVersion),
    /// It failed so, unless the server speaks the other version alone: it refused what was offered, or ended
    /// the connection without a word, never having agreed to what was spoken.
    Perhaps(Layer, Failure),
}

/// What a server made of the version that the handshake offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// It took it, or none was needed.
    Taken,
    /// It did not say anything to it.
    Ignored,
}

/// Why a version is spoken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// It is the one to begin with.
    Begins,
    /// The server has shown that it speaks it.
    Heard,
}

/// The alert `no_application_protocol` (RFC 7301, section 3.2).
const REFUSES_OFFER: Failure = Failure::TlsAlert(120);

impl Connection {
    /// Climbs the layers above TCP that have a request at their end.
    pub(super) async fn converse(&self, stream: TcpStream, ladder: &mut Ladder<'_>) -> End {
        let versions = self.service.versions;
        let known = self.service.spoken.by(&self.target);
        let first = match versions {
            Versions::Only(only) => only,
            Versions::Either => known.unwrap_or(HttpVersion::One),
        };
        let ground = match known == Some(first) {
            true => Ground::Heard,
            false => Ground::Begins,
        };
        match self.attempt(stream, first, ground, ladder).await {
            Attempt::Over(end) => end,
            Attempt::Speaks(other) if versions.holds(other) => self.again(other, ladder).await,
            Attempt::Speaks(other) => Err(speaks_only(other)),
            // Who was heard to speak a version did not end the connection for its sake.
            Attempt::Perhaps(layer, failure)
                if ground == Ground::Heard && failure != REFUSES_OFFER =>
            {
                Err((layer, failure))
            }
            Attempt::Perhaps(layer, failure) => {
                let failed = (layer, failure);
                self.perhaps(failed, other_than(first), ladder).await
            }
        }
    }

    async fn attempt(
        &self,
        stream: TcpStream,
        version: HttpVersion,
        ground: Ground,
        ladder: &mut Ladder<'_>,
    ) -> Attempt {
        if self.request.scheme != Scheme::Https {
            return self.exchange(stream, version, Offer::Taken, ladder).await;
        }
        match self.shake_hands(stream, version, ladder).await {
            // Without a word about HTTP/2 a server speaks HTTP/1.1 (RFC 9113, section 3.2).
            Ok((_, Offer::Ignored)) if version == HttpVersion::Two && ground == Ground::Begins => {
                Attempt::Speaks(HttpVersion::One)
            }
            Ok((session, offer)) => self.exchange(session, version, offer, ladder).await,
            Err(REFUSES_OFFER) => Attempt::Perhaps(Layer::Tls, REFUSES_OFFER),
            Err(failure) => Attempt::Over(Err((Layer::Tls, failure))),
        }
    }

    /// On a second connection, in the version that the server has shown to speak.
    async fn again(&self, version: HttpVersion, ladder: &mut Ladder<'_>) -> End {
        let stream = self.connect_again(ladder).await?;
        match self.attempt(stream, version, Ground::Heard, ladder).await {
            Attempt::Over(end) => end,
            Attempt::Perhaps(layer, failure) => Err((layer, failure)),
            // In answer to either it speaks the other.
            Attempt::Speaks(_) => Err((Layer::Http, Failure::HttpMalformed)),
        }
    }

    /// On a second connection, in the other version, if the server agrees to that in so many words. Else the
    /// first failure stands, as if there had been no second connection.
    async fn perhaps(
        &self,
        failed: (Layer, Failure),
        other: HttpVersion,
        ladder: &mut Ladder<'_>,
    ) -> End {
        let before = ladder.clone();
        let agreed = match self.connect_again(ladder).await {
            Ok(stream) => self.shake_hands(stream, other, ladder).await.ok(),
            Err(_) => None,
        };
        let Some((session, Offer::Taken)) = agreed else {
            *ladder = before;
            return Err(failed);
        };
        if !self.service.versions.holds(other) {
            return Err(speaks_only(other));
        }
        match self.exchange(session, other, Offer::Taken, ladder).await {
            Attempt::Over(end) => end,
            Attempt::Perhaps(layer, failure) => Err((layer, failure)),
            Attempt::Speaks(_) => Err((Layer::Http, Failure::HttpMalformed)),
        }
    }

    async fn connect_again(&self, ladder: &mut Ladder<'_>) -> Result<TcpStream, (Layer, Failure)> {
        let failed = |failure| (Layer::Tcp, failure);
        let to = aimed_at(&self.target);
        let socket = tcp::prepare(to, self.source)
            .and_then(|socket| fire::start(&socket, to).map(|()| socket))
            .map_err(|error| failed(failure::connect(&error)))?;
        // A probe opens a second connection once at most.
        let _ = self.second.set(tcp::Gauge::of(&socket));
        let limits = self.service.limits;
        let within = ladder.left_of(limits.connect, limits.total);
        let stream = tcp::establish(socket, within).await.map_err(failed)?;
        ladder.anew();
        Ok(stream)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        version: HttpVersion,
        ladder: &mut Ladder<'_>,
    ) -> Result<(TlsStream<TcpStream>, Offer), Failure> {
        let limits = self.service.limits;
        let within = ladder.left(limits.tls, limits.total);
        let hello = self.request.hello;
        let asking = tls::Asking { version, hello };
        let (facts, session) = tls::handshake(&self.service, stream, asking, within).await;
        ladder.facts.tls = facts;
        let session = session?;
        ladder.passed(Layer::Tls);
        let offer = match session.get_ref().1.alpn_protocol() {
            Some(_) => Offer::Taken,
            None => Offer::Ignored,
        };
        Ok((session, offer))
    }

    async fn exchange<S>(
        &self,
        stream: S,
        version: HttpVersion,
        offer: Offer,
        ladder: &mut Ladder<'_>,
    ) -> Attempt
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let total = self.service.limits.total;
        let within = ladder.left(total, total);
        let ask = http::Ask {
            authority: &self.service.authority,
            request: &self.request,
            sent: &self.sent,
            round: self.round,
            closes: self.closes,
            jar: self.jar.as_deref(),
        };
        let http::Exchange { facts, end } =
            http::exchange(&ask, version, stream, within, ladder.clock).await;
        match (&facts, version) {
            (Some(_), _) => self.service.spoken.keep(&self.target, version),
            (None, HttpVersion::Two) => self.service.spoken.doubt(&self.target),
            (None, HttpVersion::One) => {}
        }
        ladder.facts.http = facts;
        match end {
            Ok(()) => {
                ladder.passed(Layer::Http);
                Attempt::Over(Ok(()))
            }
            Err(Stopped::Speaks(other)) => Attempt::Speaks(other),
            Err(Stopped::Mute(layer, failure)) if offer == Offer::Ignored => {
                Attempt::Perhaps(layer, failure)
            }
            Err(Stopped::Mute(layer, failure) | Stopped::Failed(layer, failure)) => {
                Attempt::Over(Err((layer, failure)))
            }
        }
    }
}

/// What a server speaks above TLS is a matter of HTTP, also where the handshake told it.
fn speaks_only(version: HttpVersion) -> (Layer, Failure) {
    (Layer::Http, Failure::HttpVersion(version))
}

fn other_than(version: HttpVersion) -> HttpVersion {
    match version {
        HttpVersion::One => HttpVersion::Two,
        HttpVersion::Two => HttpVersion::One,
    }
}
