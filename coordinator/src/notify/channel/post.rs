//! A POST over HTTP. Redirects are not followed, and addresses, which may be secrets, are in no error.

use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::{PATIENCE, TellError};

/// Bytes of an answer that are worth reading.
const SAID: usize = 200;

/// Where to, and whom to trust.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub url: &'a Url,
    /// Further trust anchors.
    pub ca_pem: Option<&'a str>,
}

/// Sends a body with headers; done when it is answered with a status of 200 to 299.
pub(super) async fn post(
    to: To<'_>,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<(), TellError> {
    let mut request = client(to.ca_pem)?
        .post(to.url.clone())
        .header("content-type", "application/json")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut said = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        said.extend_from_slice(&piece);
        if said.len() >= SAID {
            break;
        }
    }
    said.truncate(SAID);
    Err(TellError::Refused {
        status: status.as_u16(),
        said: proto::convert::printable(String::from_utf8_lossy(&said).trim().to_owned()),
    })
}

/// The bytes of a value's JSON.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// One for each message: messages are rare, and a connection kept for the next would be stale by then.
fn client(ca_pem: Option<&str>) -> Result<Client, TellError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let anchors = CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes());
    roots.add_parsable_certificates(anchors.flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TellError::Http(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("mesh-coordinator/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(failed)
}

/// The innermost cause says most: "Connection refused", not that a request was not sent.
fn failed(error: reqwest::Error) -> TellError {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    TellError::Http(cause.to_string())
}
