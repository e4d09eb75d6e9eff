//! Electronic mail over SMTP. The end is an answer to the beginning, so that mail programs show one thread;
//! the Message-ID is the same at every attempt.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{PATIENCE, TellError};
use crate::notify::incident::Phase;
use crate::notify::message::Message;
use crate::notify::secret::Reference;

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// STARTTLS, and no mail without it.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// Not at all: to a mail server on the same host.
    None,
}

/// By which server, from whom and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// The sender.
    pub from: Mailbox,
    /// Those who are told; at least one.
    pub to: Vec<Mailbox>,
    /// The account and where its password is.
    pub account: Option<(String, Reference)>,
    /// Further trust anchors.
    pub ca_pem: Option<String>,
}

impl Email {
    pub(super) async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let mail = self.mail(message)?;
        let transport = self.transport()?;
        transport.send(mail).await.map(drop).map_err(failed)
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, TellError> {
        let tls = match self.protection {
            Protection::StartTls => Tls::Required(self.tls()?),
            Protection::Implicit => Tls::Wrapper(self.tls()?),
            Protection::None => Tls::None,
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.as_str())
                .port(self.port)
                .tls(tls)
                .timeout(Some(PATIENCE));
        if let Some((user, password)) = &self.account {
            let password = password.read()?.expose().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<TlsParameters, TellError> {
        let mut tls = TlsParameters::builder(self.host.clone())
            .certificate_store(CertificateStore::WebpkiRoots);
        if let Some(pem) = &self.ca_pem {
            tls = tls.add_root_certificate(Certificate::from_pem(pem.as_bytes()).map_err(failed)?);
        }
        tls.build().map_err(failed)
    }

    fn mail(&self, message: &Message) -> Result<Mail, TellError> {
        let domain = self.from.email.domain();
        let id = |phase: Phase| format!("<{}-{}@{domain}>", message.incident, phase.word());
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .subject(format!("[mesh] {}", message.title))
            .message_id(Some(id(message.phase)))
            // Nobody's absence is told to a program (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        if message.phase == Phase::Over {
            let first = id(Phase::Begun);
            mail = mail.in_reply_to(first.clone()).references(first);
        }
        mail.body(message.text())
            .map_err(|error| TellError::Mail(error.to_string()))
    }
}

/// With its cause, which says more than that the connection failed.
fn failed(error: lettre::transport::smtp::Error) -> TellError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    TellError::Mail(format!("{error}{}", cause.unwrap_or_default()))
}
