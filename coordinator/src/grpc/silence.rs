//! Silences and what else is asked of the notifier, between the wire and its own types.

use std::time::Duration;

use proto::convert::printable;
use proto::v1;
use tonic::{Code, Status};

use super::view;
use crate::clock::rfc3339;
use crate::notify::{NotifyError, Silence, SilenceWish};

pub(super) fn wish(
    request: v1::MakeSilenceRequest,
    operator: String,
) -> Result<SilenceWish, Status> {
    if request.service.is_empty() {
        return Err(view::malformed("a silence is for a service, or for \"*\""));
    }
    Ok(SilenceWish {
        service: view::shortened(request.service),
        from_us: request.from_us.unwrap_or_default(),
        length: Duration::from_millis(request.length_ms),
        because: printable(request.because),
        must_match: request.must_match,
        by: operator,
    })
}

pub(super) fn view(silence: Silence) -> v1::Silence {
    v1::Silence {
        id: silence.id,
        service: silence.service,
        from: rfc3339(silence.from_us),
        until: rfc3339(silence.until_us),
        because: silence.because,
        by: silence.by,
    }
}

impl From<NotifyError> for Status {
    fn from(error: NotifyError) -> Self {
        let code = match &error {
            NotifyError::NoSilence(_)
            | NotifyError::NoReceiver { .. }
            | NotifyError::NoService { .. } => Code::NotFound,
            NotifyError::Unfit(_) => Code::InvalidArgument,
            NotifyError::Untold { .. } => Code::FailedPrecondition,
            NotifyError::Stopping => Code::Unavailable,
            NotifyError::Store(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
