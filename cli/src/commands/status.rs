//! `meshctl status`.

use std::path::PathBuf;
use std::time::Duration;

use proto::json;
use proto::v1::{StatusRequest, StatusResponse};
use tokio::time::Instant;

use crate::connect::{About, Subject, connect};
use crate::contexts;
use crate::exit::Exit;
use crate::output::Output;
use crate::render::ago;
use crate::trouble::Trouble;

const DAY_US: i64 = 86_400_000_000;
/// So long before its end an operator's certificate is told of, in microseconds.
const A_MONTH_US: i64 = 30 * DAY_US;
/// Pause between two attempts of `--wait`.
const PAUSE: Duration = Duration::from_millis(200);

pub async fn run(
    path: Option<PathBuf>,
    timeout: Duration,
    wait: Option<Duration>,
    output: &Output,
) -> Result<Exit, Trouble> {
    let until = Instant::now() + wait.unwrap_or_default();
    let status = loop {
        match attempt(path.clone(), timeout).await {
            Ok(status) => break status,
            Err(trouble) if Instant::now() + PAUSE >= until => return Err(trouble),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    if let Ok(found) = contexts::load(path) {
        let (file, origin) = (found.path.display(), found.origin);
        output.detail(&format!("meshctl: context {file} ({origin})"));
    }
    output.print(&json::status(&status), || text(&status))?;
    Ok(Exit::Ok)
}

/// One attempt. The context file is read each time: a coordinator that is starting writes it.
async fn attempt(path: Option<PathBuf>, timeout: Duration) -> Result<StatusResponse, Trouble> {
    let found = contexts::load(path)?;
    let mut client = connect(&found.context, timeout).await?;
    let mut request = tonic::Request::new(StatusRequest {});
    request.set_timeout(timeout);
    Ok(client.status(request).await.about(Subject::Mesh)?)
}

fn text(status: &StatusResponse) -> String {
    format!(
        "Coordinator   {} up {}\n{}Agents        {} of {} connected\nServices      {}\n\
         Observations  {} in a store of {:.1} MB\n",
        status.version,
        ago(&status.started_at, status.now_us),
        you(status),
        status.agents_connected,
        status.agents_known,
        status.services,
        status.observations_stored,
        status.store_bytes as f64 / 1e6,
    ) + &restored(status)
        + &expiry(status)
}

/// Who asks; a coordinator of before there were roles does not say.
fn you(status: &StatusResponse) -> String {
    match json::operator_role(status.operator_role()) {
        "" => String::new(),
        role => format!("You           {} ({role})\n", status.operator),
    }
}

/// What has to be done again, for a month after a restore.
fn restored(status: &StatusResponse) -> String {
    let Some(restored) = &status.restored else {
        return String::new();
    };
    let (taken, at) = (&restored.taken_at, &restored.restored_at);
    let since_us =
        i64::try_from(status.now_us).unwrap_or(i64::MAX) - instant(at).unwrap_or_default();
    if since_us >= A_MONTH_US {
        return String::new();
    }
    let age = instant(at).map_or_else(String::new, |at| ago(taken, at.unsigned_abs()));
    format!(
        "Restored      {} ago from a backup of {taken}, {age} old then. What was done between is not known: revoke\n\
         \x20             and delete again the agents that were (THEY ARE LET IN until then), apply services, silence;\n\
         \x20             agents that joined then need `meshctl agent token`\n",
        ago(at, status.now_us),
    )
}

/// RFC 3339 in microseconds since the Unix epoch.
fn instant(text: &str) -> Option<i64> {
    text.parse().ok().map(jiff::Timestamp::as_microsecond)
}

/// What to do while a certificate that ends within a month is still good.
fn expiry(status: &StatusResponse) -> String {
    let expires_at = &status.operator_certificate_expires_at;
    let left_us = instant(expires_at)
        .unwrap_or(i64::MAX)
        .saturating_sub(i64::try_from(status.now_us).unwrap_or(i64::MAX));
    if left_us >= A_MONTH_US {
        return String::new();
    }
    format!(
        "Certificate   of operator {} ends in {} d, at {expires_at}; `meshctl operator renew` makes a new one, while \
         it is good\n",
        status.operator,
        left_us / DAY_US,
    )
}

#[cfg(test)]
mod tests {
    use proto::v1::RestoredFrom;

    use super::*;

    #[test]
    fn a_certificate_that_ends_within_a_month_is_told() {
        let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        let says = |expires_at: String| {
            text(&StatusResponse {
                now_us: now.as_microsecond().unsigned_abs(),
                operator: "admin".to_owned(),
                operator_certificate_expires_at: expires_at,
                ..StatusResponse::default()
            })
            .contains("Certificate")
        };
        let in_days = |days: i64| {
            let at = jiff::Timestamp::from_second(1_700_000_000 + days * 86_400).unwrap();
            at.to_string()
        };
        for (days, told) in [(365, false), (31, false), (29, true), (0, true)] {
            assert_eq!(says(in_days(days)), told, "{days}");
        }
        // An older coordinator does not say.
        assert!(!says(String::new()));
    }

    #[test]
    fn what_a_restore_leaves_to_do_is_told_for_a_month() {
        let says = |now_s: i64| {
            text(&StatusResponse {
                now_us: u64::try_from(now_s).unwrap() * 1_000_000,
                restored: Some(RestoredFrom {
                    taken_at: "2023-11-14T19:13:20Z".to_owned(),
                    restored_at: "2023-11-14T22:13:20Z".to_owned(),
                    times: 1,
                }),
                ..StatusResponse::default()
            })
        };
        let said = says(1_700_000_060);
        assert!(
            said.contains("60s ago from a backup of 2023-11-14T19:13:20Z, 3h old"),
            "{said}"
        );
        assert!(said.contains("LET IN"), "{said}");
        assert!(!says(1_700_000_000 + 31 * 86_400).contains("Restored"));
    }
}
