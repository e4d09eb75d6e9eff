//! An incident in words: what every channel tells, each in its own form.

use localize::{Fault, Verdict};
use proto::words;
use serde_json::{Value, json};

use super::incident::{About, Incident, Member, Phase};
use crate::clock::rfc3339;

/// Lines of evidence that are told; the page has them all.
const EVIDENCE: usize = 6;
/// Candidates that are told where nobody knows.
const CANDIDATES: usize = 4;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Users feel it.
    Critical,
    /// Redundancy masks it, or nobody knows what it is.
    Warning,
}

impl Severity {
    /// Its word, as Alertmanager's and PagerDuty's users know it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same at every attempt, and for nothing else: incident and phase.
    pub id: String,
    /// The incident's id.
    pub incident: String,
    /// Beginning or end.
    pub phase: Phase,
    /// In a line.
    pub title: String,
    /// The service in whose verdict it was first named.
    pub service: String,
    /// Every service that it concerns.
    pub services: Vec<String>,
    /// The kind of the component, `undecided` where nobody knows.
    pub kind: String,
    /// Its name; empty where nobody knows.
    pub component: String,
    /// In which way it fails; likewise.
    pub mode: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for the person on call.
    pub summary: String,
    /// What else there is to say, each with its name.
    pub details: Vec<(&'static str, String)>,
    /// When it began; RFC 3339.
    pub began_at: String,
    /// When it was found to be over, likewise; empty while it stands.
    pub over_at: String,
    /// The page of the verdict, where there is one.
    pub link: Option<String>,
    /// The verdict's id.
    pub verdict_id: String,
    /// The verdict's JSON; null where it is no longer kept.
    pub verdict: Value,
}

impl Message {
    /// The words for what a verdict of the incident says; without one when it is no longer kept. `page` is
    /// where people find the web face, without a slash at its end; `why` says why it is over.
    #[must_use]
    pub fn new(
        incident: &Incident,
        phase: Phase,
        verdict: Option<&Verdict>,
        page: Option<&str>,
        why: Option<&str>,
    ) -> Self {
        let services: Vec<String> = incident.services().into_iter().map(str::to_owned).collect();
        let verdict_id = spoken(incident).map_or(String::new(), |member| member.verdict.clone());
        let fault = verdict.and_then(|verdict| fault(incident, verdict));
        let (kind, component) = match &incident.about {
            About::Fault { kind, name, .. } => (kind.clone(), name.clone()),
            About::Undecided { .. } => ("undecided".to_owned(), String::new()),
        };
        let over_at = match phase {
            Phase::Begun => String::new(),
            Phase::Over => incident.over_us().map(rfc3339).unwrap_or_default(),
        };
        let mut message = Self {
            id: format!("{}-{}", incident.id, phase.word()),
            incident: incident.id.clone(),
            phase,
            title: String::new(),
            service: services.first().cloned().unwrap_or_default(),
            services,
            kind,
            component,
            mode: fault.map(|fault| fault.mode.clone()).unwrap_or_default(),
            severity: match incident.user_impact {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            summary: summary(incident, verdict, fault),
            details: Vec::new(),
            began_at: rfc3339(incident.began_us()),
            over_at,
            link: page.map(|page| format!("{page}/verdicts/{verdict_id}")),
            verdict_id,
            verdict: verdict.map_or(Value::Null, |verdict| json!(verdict)),
        };
        message.title = message.headline(incident, fault);
        message.details = message.describe(verdict, fault, why);
        message
    }

    /// Something that only shows that a receiver can be reached.
    #[must_use]
    pub fn trial(id: &str, now_us: u64, page: Option<&str>) -> Self {
        Self {
            id: format!("{id}-{}", Phase::Begun.word()),
            incident: id.to_owned(),
            phase: Phase::Begun,
            title: "a trial: the mesh can reach you".to_owned(),
            service: "trial".to_owned(),
            services: vec!["trial".to_owned()],
            kind: "trial".to_owned(),
            component: String::new(),
            mode: String::new(),
            severity: Severity::Warning,
            summary: "An operator has asked for this message. Nothing is wrong.".to_owned(),
            details: Vec::new(),
            began_at: rfc3339(now_us),
            over_at: String::new(),
            link: page.map(str::to_owned),
            verdict_id: String::new(),
            verdict: Value::Null,
        }
    }

    fn headline(&self, incident: &Incident, fault: Option<&Fault>) -> String {
        let services = self.services.join(", ");
        let what = match (&incident.about, fault) {
            (About::Undecided { .. }, _) => "something fails, and what is not certain".to_owned(),
            (About::Fault { .. }, None) => incident.about.to_string(),
            (About::Fault { .. }, Some(fault)) => format!(
                "{} {}, {} sure",
                incident.about,
                fault.mode,
                words::percent(fault.confidence)
            ),
        };
        let felt = match self.severity {
            Severity::Critical => ", users are affected",
            Severity::Warning => "",
        };
        match self.phase {
            Phase::Begun => format!("{services}: {what}{felt}"),
            Phase::Over => format!("over: {services}: {what}"),
        }
    }

    fn describe(
        &self,
        verdict: Option<&Verdict>,
        fault: Option<&Fault>,
        why: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let mut details = vec![("Began", self.began_at.clone())];
        if !self.over_at.is_empty() {
            let why = why.map(|why| format!(", {why}")).unwrap_or_default();
            details.push(("Over", format!("{}{why}", self.over_at)));
        }
        if let Some(fault) = fault {
            details.push(("Owner", fault.owner.clone()));
            details.push(("Rate", rate(fault)));
            let evidence = fault.evidence.iter().take(EVIDENCE);
            details.extend(evidence.map(|line| ("Evidence", line.text.clone())));
            details.push(("Next", fault.next_step.clone()));
        }
        if let (Some(verdict), None) = (verdict, fault) {
            let may = verdict.alternatives.iter().take(CANDIDATES).map(|one| {
                let sure = words::percent(one.confidence);
                format!("{} {}, {sure}", words::component(&one.component), one.mode)
            });
            details.extend(may.map(|candidate| ("May be", candidate)));
            details.extend(verdict.ask.iter().map(|ask| ("Would tell", ask.clone())));
        }
        details.retain(|(_, text)| !text.is_empty());
        details
    }

    /// The whole in plain text, as a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.summary);
        for (name, line) in &self.details {
            text.push_str(&format!("{name:<10}{line}\n"));
        }
        if let Some(link) = &self.link {
            text.push_str(&format!("{:<10}{link}\n", "Page"));
        }
        if !self.verdict_id.is_empty() {
            text.push_str(&format!(
                "{:<10}meshctl explain {}\n",
                "Verdict", self.verdict_id
            ));
        }
        text
    }

    /// The details of one name.
    #[must_use]
    pub fn detail(&self, name: &str) -> Vec<&str> {
        let named = self.details.iter().filter(|(known, _)| *known == name);
        named.map(|(_, text)| text.as_str()).collect()
    }
}

/// The verdict that is told: the newest that stands, else the newest.
#[must_use]
pub fn spoken(incident: &Incident) -> Option<&Member> {
    let mut newest = incident.members.iter().rev();
    let stands = newest.find(|member| member.over_us.is_none());
    stands.or(incident.members.last())
}

fn fault<'a>(incident: &Incident, verdict: &'a Verdict) -> Option<&'a Fault> {
    let mut faults = verdict.faults.iter();
    faults.find(|fault| incident.about.is(fault, &verdict.service))
}

fn summary(incident: &Incident, verdict: Option<&Verdict>, fault: Option<&Fault>) -> String {
    match (&incident.about, fault, verdict) {
        (_, Some(fault), _) => fault.summary.clone(),
        (About::Undecided { service, .. }, None, Some(_)) => format!(
            "Probes of {service} fail more than they did, and the evidence does not tell what is at fault."
        ),
        (_, None, _) => format!("The verdict on {} is no longer kept.", incident.about),
    }
}

fn rate(fault: &Fault) -> String {
    let of = |share| words::percent(share);
    format!(
        "{} of the probes that cross it (95% interval {} to {})",
        of(fault.rate.estimate),
        of(fault.rate.low),
        of(fault.rate.high)
    )
}
