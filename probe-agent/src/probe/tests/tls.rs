//! TLS: certificates that are not good, and peers that do not speak it.

use std::net::SocketAddr;
use std::sync::Arc;

use localize::{Failure, Layer, Outcome};
use proto::v1::ServiceSpec;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::{failed, layers, listener, probe, serve, spec, vip};

pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
    der: rustls_pki_types::CertificateDer<'static>,
}

pub(super) fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        pem: certificate.pem(),
        der: certificate.der().clone(),
        issuer: Issuer::new(params, key),
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Clients {
    Any,
    WithCertificate,
}

pub(super) fn config(
    authority: &Authority,
    name: &str,
    years: (i32, i32),
    clients: Clients,
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::WithCertificate => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    builder
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap()
}

/// Answers one request over TLS and closes without close_notify.
async fn serve_tls(config: ServerConfig) -> SocketAddr {
    let (listener, address) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        let _ = stream.read(&mut [0; 2048]).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nabc").await;
        let _ = stream.flush().await;
    });
    address
}

pub(super) fn trusting(pem: &str) -> ServiceSpec {
    ServiceSpec {
        ca_pem: pem.to_owned(),
        ..spec("https")
    }
}

#[tokio::test]
async fn a_good_certificate_passes_and_is_described() {
    let authority = authority();
    let config = config(&authority, "shop.example", (2020, 2090), Clients::Any);
    let findings = probe(trusting(&authority.pem), vip(serve_tls(config).await)).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Tcp, Layer::Tls, Layer::Http]);
    let facts = findings.facts.tls.unwrap();
    assert_eq!(facts.leaf.len(), 32);
    assert_eq!(facts.not_after, 3_786_912_000);
}

#[tokio::test]
async fn each_bad_certificate_has_its_failure_and_its_facts() {
    let known = authority();
    let stranger = authority();
    let rows = [
        (
            &known,
            "shop.example",
            (2020, 2021),
            Failure::CertificateExpired,
        ),
        (
            &known,
            "shop.example",
            (2080, 2090),
            Failure::CertificateNotYetValid,
        ),
        (
            &stranger,
            "shop.example",
            (2020, 2090),
            Failure::CertificateUnknownIssuer,
        ),
        (
            &known,
            "other.example",
            (2020, 2090),
            Failure::CertificateWrongName,
        ),
    ];
    for (signer, name, years, failure) in rows {
        let address = serve_tls(config(signer, name, years, Clients::Any)).await;
        let findings = probe(trusting(&known.pem), vip(address)).await;
        assert_eq!(failed(&findings), (Layer::Tls, failure));
        assert_eq!(layers(&findings), [Layer::Tcp]);
        assert!(findings.facts.tls.is_some(), "{failure:?}");
    }
}

#[tokio::test]
async fn a_self_signed_authority_as_leaf_is_good_when_it_is_the_anchor() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let leaf = params.self_signed(&key).unwrap();
    let other = authority();
    for (anchor, passes) in [(leaf.pem(), true), (other.pem, false)] {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let findings = probe(trusting(&anchor), vip(serve_tls(config).await)).await;
        if passes {
            assert_eq!(findings.outcome, Outcome::Passed);
        } else {
            let failure = Failure::CertificateUnknownIssuer;
            assert_eq!(failed(&findings), (Layer::Tls, failure));
        }
    }
}

#[tokio::test]
async fn an_alert_after_the_handshake_belongs_to_the_handshake() {
    let authority = authority();
    let clients = Clients::WithCertificate;
    let config = config(&authority, "shop.example", (2020, 2090), clients);
    let findings = probe(trusting(&authority.pem), vip(serve_tls(config).await)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsAlert(116)));
    assert_eq!(layers(&findings), [Layer::Tcp]);
}

#[tokio::test]
async fn a_peer_that_is_no_tls_server() {
    let (address, _server) = serve("", super::Then::Wait).await;
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsTimeout));

    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 2048]).await;
    });
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsProtocol));

    let (listener, address) = super::listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 2048]).await;
    });
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsReset));
}
