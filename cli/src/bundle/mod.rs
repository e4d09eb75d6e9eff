//! The proof for the other team: everything behind a verdict in one archive that opens anywhere.

mod archive;
mod capture;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use localize::time::rfc3339;
use localize::{
    Case, FlowSighting, HostReading, Observation, Outcome, Seen, Stamp, Trace, Verdict,
    WitnessReport,
};
use serde::Serialize;

use self::archive::File;
use crate::output::Style;
use crate::render;
use proto::kept::Kept;

/// Text in the archive is as wide as a mail.
const STYLE: Style = Style {
    colour: false,
    width: 80,
};

/// How long after its start packets of the same ports are taken for a probe's connection.
const SAME_CONNECTION_US: u64 = 15_000_000;

/// Packs a verdict and the case that it was made from.
///
/// # Errors
/// When something cannot be written as JSON, or is too large for an archive.
pub fn bundle(kept: &Kept, case: &Case, case_json: &[u8]) -> io::Result<Vec<u8>> {
    let folder = name(&kept.verdict);
    let observations = ordered(case);
    let reports = reports(case);
    let files = [
        ("README.txt", readme(&kept.verdict).into_bytes()),
        ("verdict.txt", in_words(kept).into_bytes()),
        ("verdict.json", pretty(kept)?),
        ("cleared.txt", cleared(&kept.verdict).into_bytes()),
        ("failed.jsonl", lines(failed(&observations, &reports))?),
        ("observations.jsonl", lines(observations.iter().copied())?),
        ("sightings.jsonl", lines(sightings(&reports))?),
        ("packets.pcapng", capture::file(&observations, &reports)?),
        ("counters.jsonl", lines(counters(&reports))?),
        ("traces.jsonl", lines(traces(case))?),
        ("clocks.json", pretty(&clocks(&observations))?),
        ("case.json", case_json.to_vec()),
    ];
    let files = files.into_iter().map(|(file, bytes)| File {
        path: format!("{folder}/{file}"),
        bytes,
    });
    archive::pack(&files.collect::<Vec<_>>())
}

/// The folder in the archive; nothing that a path could be made of.
fn name(verdict: &Verdict) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let id: String = verdict.id.chars().take(60).map(plain).collect();
    format!("verdict-{}", id.trim_start_matches("v-"))
}

/// Each observation once, in the order in which they were fired.
fn ordered(case: &Case) -> Vec<&Observation> {
    let once: BTreeMap<_, &Observation> = case.observations.iter().map(|o| (&o.id, o)).collect();
    let mut ordered: Vec<&Observation> = once.into_values().collect();
    ordered.sort_by_key(|o| (o.scheduled_us, o.round));
    ordered
}

/// Each report once, in the order of their stretches.
fn reports(case: &Case) -> Vec<&WitnessReport> {
    let once: BTreeMap<_, &WitnessReport> = case
        .sightings
        .iter()
        .map(|r| ((&r.witness, r.sequence), r))
        .collect();
    let mut ordered: Vec<&WitnessReport> = once.into_values().collect();
    ordered.sort_by_key(|r| r.from.at_us);
    ordered
}

fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

fn lines<T: Serialize>(values: impl IntoIterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, &value)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn in_words(kept: &Kept) -> String {
    kept.story() + &render::explain(&kept.verdict, STYLE)
}

/// A sentence for each component that is not at fault.
fn cleared(verdict: &Verdict) -> String {
    let cleared = verdict.exonerated.iter().map(|part| {
        let sentence = format!(
            "{} {} is not at fault ({} sure): {}.",
            render::kind(part.component.kind),
            part.component.name,
            render::percent(part.confidence),
            part.because.trim_end_matches('.')
        );
        render::wrap("", &sentence, STYLE.width)
    });
    let text: String = cleared.collect();
    match text.is_empty() {
        true => "Nothing could be cleared.\n".to_owned(),
        false => text,
    }
}

/// A probe that failed, with what witnesses saw of its connection.
#[derive(Serialize)]
struct Failed<'c> {
    at: String,
    round: u64,
    vantage: &'c str,
    arm: String,
    /// The probe's own end of its connection, where it got that far.
    client: Option<SocketAddr>,
    outcome: &'c Outcome,
    /// Empty where no witness stands on the way, or none saw a packet of it.
    seen: Vec<SeenBy<'c>>,
}

#[derive(Serialize)]
struct SeenBy<'c> {
    witness: &'c str,
    from: String,
    to: String,
    client: SocketAddr,
    server: SocketAddr,
    packets: &'c [Seen],
}

impl<'c> SeenBy<'c> {
    fn of(report: &'c WitnessReport, flow: &'c FlowSighting) -> Self {
        Self {
            witness: &report.witness.0,
            from: rfc3339(report.from.at_us),
            to: rfc3339(report.to.at_us),
            client: flow.client,
            server: flow.server,
            packets: &flow.seen,
        }
    }
}

fn failed<'c>(
    observations: &[&'c Observation],
    reports: &[&'c WitnessReport],
) -> impl Iterator<Item = Failed<'c>> {
    let mut flows: BTreeMap<SocketAddr, Vec<(u64, SeenBy<'c>)>> = BTreeMap::new();
    for report in reports {
        for flow in &report.flows {
            let seen = (report.to.at_us, SeenBy::of(report, flow));
            flows.entry(flow.client).or_default().push(seen);
        }
    }
    let failed = observations.iter().copied();
    let failed = failed.filter(|o| matches!(o.outcome, Outcome::Failed { .. }));
    let failed: Vec<Failed<'c>> = failed
        .map(|observation| {
            let client = observation.facts.tcp.as_ref().map(|tcp| tcp.local);
            let start = observation.started.at_us;
            let during = start..start + SAME_CONNECTION_US;
            let own = client.and_then(|client| flows.get_mut(&client));
            let seen = own.map_or(Vec::new(), |own| {
                own.extract_if(.., |(to, _)| during.contains(to)).collect()
            });
            Failed {
                at: rfc3339(start),
                round: observation.round.0,
                vantage: &observation.vantage().0,
                arm: observation.arm.label(),
                client,
                outcome: &observation.outcome,
                seen: seen.into_iter().map(|(_, seen)| seen).collect(),
            }
        })
        .collect();
    failed.into_iter()
}

fn sightings<'c>(reports: &[&'c WitnessReport]) -> impl Iterator<Item = SeenBy<'c>> {
    let flows = reports
        .iter()
        .copied()
        .flat_map(|report| report.flows.iter().map(move |flow| (report, flow)));
    flows.map(|(report, flow)| SeenBy::of(report, flow))
}

/// What a host's kernel counted, in one stretch.
#[derive(Serialize)]
struct Counted<'c> {
    witness: &'c str,
    from: String,
    to: String,
    #[serde(flatten)]
    host: &'c HostReading,
}

fn counters<'c>(reports: &[&'c WitnessReport]) -> impl Iterator<Item = Counted<'c>> {
    let read = reports.iter().copied();
    read.filter_map(|report| {
        Some(Counted {
            witness: &report.witness.0,
            from: rfc3339(report.from.at_us),
            to: rfc3339(report.to.at_us),
            host: report.host.as_ref()?,
        })
    })
}

/// How far packets came towards a target that did not answer.
#[derive(Serialize)]
struct Traced<'c> {
    at: String,
    #[serde(flatten)]
    trace: &'c Trace,
}

/// Each trace once, in the order in which they began.
fn traces(case: &Case) -> Vec<Traced<'_>> {
    let once: BTreeMap<_, &Trace> = case
        .traces
        .iter()
        .map(|trace| ((&trace.vantage, trace.sequence), trace))
        .collect();
    let mut ordered: Vec<&Trace> = once.into_values().collect();
    ordered.sort_by_key(|trace| trace.started.at_us);
    let ordered = ordered.into_iter().map(|trace| Traced {
        at: rfc3339(trace.started.at_us),
        trace,
    });
    ordered.collect()
}

/// Within which bounds a vantage point's stamps are right.
#[derive(Serialize)]
struct ClockBound<'c> {
    vantage: &'c str,
    observations: usize,
    /// Half the width of the interval that holds the true instant, in microseconds.
    median_uncertainty_us: u64,
    worst_uncertainty_us: u64,
}

fn clocks<'c>(observations: &[&'c Observation]) -> Vec<ClockBound<'c>> {
    let mut bounds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for observation in observations {
        let Stamp { uncertainty_us, .. } = observation.started;
        let own = bounds.entry(&observation.vantage().0).or_default();
        own.push(uncertainty_us);
    }
    let bounds = bounds.into_iter().map(|(vantage, mut own)| {
        own.sort_unstable();
        ClockBound {
            vantage,
            observations: own.len(),
            median_uncertainty_us: own.get(own.len() / 2).copied().unwrap_or(0),
            worst_uncertainty_us: own.last().copied().unwrap_or(0),
        }
    });
    bounds.collect()
}

/// What is what, for somebody who has never heard of a probing mesh.
fn readme(verdict: &Verdict) -> String {
    let line = render::verdict_line(verdict);
    format!(
        "{line}\n\n\
         This is the proof of verdict {id} on {service}, for whoever has to mend it. Agents at\n\
         several places asked the service in many ways at the same instants: through the CDN,\n\
         straight at the balancer, straight at each backend, by each resolver. What failed\n\
         where, and what did not, says which part is at fault. Agents on the hosts also saw\n\
         which packets of these connections came in and went out.\n\n\
         verdict.txt         the judgement in words, with its evidence; read this first\n\
         cleared.txt         one sentence for each part that is not at fault, and why\n\
         verdict.json        the same for programs\n\
         failed.jsonl        each probe that failed, with the packets that hosts saw of its\n\
         \x20                   connection: syn, syn_ack, ack, resets; direction and interface\n\
         observations.jsonl  every probe, one a line: when, from where, at what, each layer\n\
         \x20                   with its time in microseconds, how it ended\n\
         sightings.jsonl     every connection that a host saw packets of, in stretches of a\n\
         \x20                   second\n\
         packets.pcapng      the packets of connections that failed, as far as hosts still had\n\
         \x20                   them: for tcpdump and Wireshark, each with its host, its interface\n\
         \x20                   and its probe\n\
         counters.jsonl      by how much the hosts' kernel counters rose in each stretch, and\n\
         \x20                   how the kernels are set (what is told now and then, not always)\n\
         traces.jsonl        how far packets came that targets did not answer: what SYNs met\n\
         \x20                   that were let go over one hop, two, and so on (a silent hop says\n\
         \x20                   nothing by itself), and one that was let go all the way\n\
         clocks.json         within which bounds the stamps of each place are right\n\
         case.json           all of it as one input: `meshctl replay case.json` judges it anew\n\n\
         Times are UTC, and those in microseconds count from 1970-01-01. No contents of answers\n\
         are in here: of packets there are the headers of IP and TCP, and no byte behind them,\n\
         and of each connection what begins and ends it, not what it carried.\n\n\
         With jq, for instance:\n\
         \x20 jq -r '[.at, .vantage, .arm, (.outcome.failed.failure|tostring)] | @tsv' failed.jsonl\n\
         \x20 jq 'select(.seen != []) | {{arm, client, seen}}' failed.jsonl\n\
         \x20 tcpdump -enr packets.pcapng\n\
         \x20 jq -c 'select(.rose != null) | [.from, .witness, .rose]' counters.jsonl\n",
        id = verdict.id,
        service = verdict.service,
    )
}

#[cfg(test)]
mod tests;
