//! What a clock has to do with a connection that does not come about, in words.
//!
//! Certificates are for a time. When that is not the time by somebody's clock, TLS breaks off with two
//! words; people need to know which clock to look at.

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

/// Whose clock is in the way and what to do, when it is a clock.
#[must_use]
pub fn explained(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(said) = tls_error(error).and_then(of_tls) {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

/// rustls' own error, which travels inside one of the operating system's.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| inside.and_then(|inside| inside.downcast_ref()))
}

fn of_tls(error: &rustls::Error) -> Option<String> {
    if let rustls::Error::AlertReceived(AlertDescription::CertificateExpired) = error {
        return Some(
            "by the coordinator's clock this agent's certificate has ended or has not begun: compare \
             `date -u` here and there; if both are right, `meshctl agent rejoin NAME` makes a token for \
             --join"
                .to_owned(),
        );
    }
    let rustls::Error::InvalidCertificate(invalid) = error else {
        return None;
    };
    if let CertificateError::ExpiredContext { time, not_after } = invalid {
        return Some(format!(
            "this host's clock says {}, and the coordinator's certificate ended at {}: this clock is ahead, \
             or the coordinator's stands behind; compare `date -u` here and there, and set the wrong one",
            rfc3339(*time),
            rfc3339(*not_after)
        ));
    }
    if let CertificateError::NotValidYetContext { time, not_before } = invalid {
        return Some(format!(
            "this host's clock says {}, and the coordinator's certificate begins at {}: this clock is behind, \
             or the coordinator's is ahead; compare `date -u` here and there, and set the wrong one",
            rfc3339(*time),
            rfc3339(*not_before)
        ));
    }
    None
}

fn rfc3339(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let at = Timestamp::from_second(seconds);
    at.map_or_else(|_| format!("{seconds} s"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::LinkError;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn it_is_said_whose_clock_stands_in_the_way() {
        let (early, late) = (at(1_700_000_000), at(1_700_600_000));
        let ahead = CertificateError::ExpiredContext {
            time: late,
            not_after: early,
        };
        let behind = CertificateError::NotValidYetContext {
            time: early,
            not_before: late,
        };
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        let rows = [
            (
                rustls::Error::InvalidCertificate(ahead),
                Some(
                    "says 2023-11-21T20:53:20Z, and the coordinator's certificate ended at 2023-11-14T22:13:20Z: this clock is ahead",
                ),
            ),
            (
                rustls::Error::InvalidCertificate(behind),
                Some("this clock is behind"),
            ),
            (alert, Some("meshctl agent rejoin")),
            (rustls::Error::DecryptError, None),
        ];
        for (error, expected) in rows {
            // As it comes out of a dialled connection.
            let error = LinkError::Connect {
                address: "192.0.2.1:7443".to_owned(),
                source: io::Error::other(error),
            };
            let said = explained(&error);
            match expected {
                Some(text) => assert!(
                    said.as_deref().is_some_and(|s| s.contains(text)),
                    "{said:?}"
                ),
                None => assert_eq!(said, None),
            }
        }
    }
}
