//! A ClientHello that takes more than one packet, as those of browsers do that offer a post-quantum key share.
//!
//! Such a share (X25519MLKEM768 of draft-ietf-tls-ecdhe-mlkem) has 1,216 bytes, and makes of a browser's hello one
//! of some 1,800. Middleboxes that read a hello from its first packet alone drop what does not end there. The
//! share here is of a group for private use (RFC 8446, section 4.2.7: `ecdhe_private_use`): random bytes, which no server chooses,
//! beside the usual one of X25519, which it chooses as it would of a client that offers nothing else.

use std::sync::Arc;

use rustls::crypto::ring::{self, kx_group};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SharedSecret, SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerIncompatible, ProtocolVersion};

/// So many bytes make the hello longer than any packet of Ethernet, as a browser's is: what a browser says
/// besides, this client does not.
const SHARE: usize = 1_600;

/// The first of those for private use.
const PRIVATE: NamedGroup = NamedGroup::Unknown(0xFE00);

/// The usual algorithms, with the large share in front.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let usual = ring::default_provider();
    let large: &'static dyn SupportedKxGroup = &Large;
    Arc::new(CryptoProvider {
        kx_groups: [vec![large], usual.kx_groups.clone()].concat(),
        ..usual
    })
}

/// The group that no server knows.
#[derive(Debug)]
struct Large;

/// A share of it, beside one of X25519.
struct Offered {
    share: Vec<u8>,
    usual: Box<dyn ActiveKeyExchange>,
}

impl SupportedKxGroup for Large {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut share = vec![0; SHARE];
        let random = ring::default_provider().secure_random;
        random
            .fill(&mut share)
            .map_err(|GetRandomFailed| Error::FailedToGetRandomBytes)?;
        let usual = kx_group::X25519.start()?;
        Ok(Box::new(Offered { share, usual }))
    }

    fn name(&self) -> NamedGroup {
        PRIVATE
    }

    /// TLS 1.2 has no shares in a hello.
    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

impl ActiveKeyExchange for Offered {
    /// A server that chooses what it cannot know does not speak TLS as asked.
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(PeerIncompatible::NoKxGroupsInCommon.into())
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.usual.group(), self.usual.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.usual.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        PRIVATE
    }
}
