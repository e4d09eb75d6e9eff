//! `lab run`: switch each fault on, let both meshes localise it at the same time, and compare.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use localize::verdict::{Outcome, Verdict};

use crate::expectation::{Judgement, judge};
use crate::fault::{Fault, Strength};
use crate::mesh::{Localized, Mesh, Schedule};
use crate::net::Options;
use crate::topology::Lab;
use crate::verdicts::{Coverage, expected};

/// How long a localisation may take. A verdict that needs more is a failure of its own.
const BUDGET: Duration = Duration::from_secs(60);
/// After a fault is off: health checks bring backends back in two seconds, resolvers forget in five,
/// and the rounds under way end in six.
const RECOVERY: Duration = Duration::from_secs(7);

/// What to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The faults, in order.
    pub faults: Vec<Fault>,
    /// Localisations of the healthy path, before the faults.
    pub healthy: u32,
    /// The meshes.
    pub meshes: Vec<Coverage>,
    /// How far back scheduled rounds count.
    pub since: Duration,
    /// How often a fault, or health, is tried again when a verdict was not as expected: confidences are below
    /// one, so that among fifty verdicts a wrong one is no surprise, and the same one twice is.
    pub again: u32,
    /// Folder for the cases, one file for each fault or healthy run, and mesh.
    pub record: Option<PathBuf>,
    /// Options of the topology.
    pub options: Options,
}

/// One line of the result.
struct Line {
    fault: Option<Fault>,
    coverage: Coverage,
    outcome: Result<(Localized, Judgement)>,
}

/// Runs the plan; true when every verdict was as expected.
pub fn run(plan: &Plan) -> Result<bool> {
    let mut lab = Lab::up(plan.options).context("the topology")?;
    let mut meshes = Vec::new();
    for coverage in &plan.meshes {
        meshes.push(Mesh::start(
            &lab.run,
            *coverage,
            &lab.certificates,
            Schedule::Usual,
            plan.options.balancer,
        )?);
    }
    // Baselines come from rounds in good health.
    std::thread::sleep(Duration::from_secs(20));
    let mut lines = Vec::new();
    let mut repeated = 0;
    for number in 1..=plan.healthy {
        let stem = format!("healthy-{number}");
        let attempt = || localize_all(plan, &mut meshes, None, &stem);
        lines.extend(patiently(plan.again, "healthy", &mut repeated, attempt)?);
    }
    let fit = plan
        .faults
        .iter()
        .filter(|fault| fault.fits(plan.options.balancer));
    for fault in fit {
        let attempt = || try_fault(plan, &mut lab, &mut meshes, *fault);
        let done = patiently(plan.again, fault.name(), &mut repeated, attempt)?;
        lines.extend(done);
    }
    print_summary(&lines);
    if plan.again > 0 {
        println!("{repeated} were tried again");
    }
    Ok(lines.iter().all(passed))
}

/// Does it once more, so often at most, while a verdict is not as expected.
fn patiently(
    again: u32,
    name: &str,
    repeated: &mut u32,
    mut attempt: impl FnMut() -> Result<Vec<Line>>,
) -> Result<Vec<Line>> {
    let mut done = attempt()?;
    for _ in 0..again {
        if done.iter().all(passed) {
            break;
        }
        println!("{name:<26} again");
        *repeated += 1;
        done = attempt()?;
    }
    Ok(done)
}

/// Switches a fault on, localises, and switches it off whatever came of it.
fn try_fault(plan: &Plan, lab: &mut Lab, meshes: &mut [Mesh], fault: Fault) -> Result<Vec<Line>> {
    let large = fault.strikes_large_answers();
    for mesh in meshes.iter().filter(|_| large) {
        mesh.ask_for_large(true)?;
    }
    fault.apply(lab)?;
    std::thread::sleep(fault.settles());
    let done = localize_all(plan, meshes, Some(fault), fault.name());
    fault.revert(lab)?;
    for mesh in meshes.iter().filter(|_| large) {
        mesh.ask_for_large(false)?;
    }
    let lines = done?;
    std::thread::sleep(RECOVERY);
    Ok(lines)
}

/// Lets every mesh localise at the same time, and prints a line for each. Recorded cases begin with
/// `stem`.
fn localize_all(
    plan: &Plan,
    meshes: &mut [Mesh],
    fault: Option<Fault>,
    stem: &str,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let localized: Vec<Result<Localized>> = std::thread::scope(|scope| {
        let runs: Vec<_> = meshes
            .iter()
            .map(|mesh| scope.spawn(|| mesh.localize(BUDGET, plan.since)))
            .collect();
        let ended = runs.into_iter().map(|run| {
            run.join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the localisation panicked")))
        });
        ended.collect()
    });
    for (mesh, localized) in meshes.iter_mut().zip(localized) {
        mesh.check()?;
        if let (Some(folder), Ok(localized)) = (&plan.record, &localized) {
            record(folder, mesh, stem, &localized.verdict)?;
        }
        let expected = expected(fault, mesh.coverage, plan.options.balancer);
        let outcome = localized.map(|localized| {
            let judgement = judge(&expected, &localized.verdict);
            (localized, judgement)
        });
        let line = Line {
            fault,
            coverage: mesh.coverage,
            outcome,
        };
        println!("{}", describe(&line));
        lines.push(line);
    }
    Ok(lines)
}

fn record(folder: &std::path::Path, mesh: &Mesh, stem: &str, verdict: &Verdict) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let stem = format!("{stem}-{}", mesh.coverage.name());
    mesh.export_case(&verdict.id, &folder.join(format!("{stem}.case.json")))?;
    let text = serde_json::to_string_pretty(verdict)?;
    std::fs::write(folder.join(format!("{stem}.verdict.json")), text)?;
    Ok(())
}

fn fault_name(fault: Option<Fault>) -> &'static str {
    fault.map_or("healthy", Fault::name)
}

fn passed(line: &Line) -> bool {
    match &line.outcome {
        Ok((_, judgement)) => !matches!(judgement, Judgement::Wrong(_)),
        Err(_) => false,
    }
}

fn describe(line: &Line) -> String {
    let head = format!("{:<26} {}", fault_name(line.fault), line.coverage.name());
    match &line.outcome {
        Err(error) => format!("{head}  WRONG  {error:#}"),
        Ok((localized, judgement)) => {
            let verdict = &localized.verdict;
            let seconds = localized.took.as_secs_f64();
            let cost = format!("{seconds:>5.1} s {:>5} probes", verdict.probes);
            let got = in_words(verdict);
            match judgement {
                Judgement::Right => format!("{head}  right  {cost}  {got}"),
                Judgement::AmbiguousOk => format!("{head}  open   {cost}  {got}"),
                Judgement::Wrong(why) => format!("{head}  WRONG  {cost}  {got}  [{why}]"),
            }
        }
    }
}

fn in_words(verdict: &Verdict) -> String {
    let mut text = match verdict.outcome {
        Outcome::Healthy => "healthy".to_owned(),
        Outcome::Fault => String::new(),
        Outcome::Inconclusive => "inconclusive".to_owned(),
    };
    for fault in &verdict.faults {
        let component = &fault.component;
        let masked = if fault.user_impact { "" } else { " (masked)" };
        let _ = write!(
            text,
            "{}{:?} {} {} {:.3}{masked}",
            if text.is_empty() { "" } else { ", " },
            component.kind,
            component.name,
            fault.mode,
            fault.confidence,
        );
    }
    if verdict.outcome == Outcome::Inconclusive {
        for other in verdict.alternatives.iter().take(4) {
            let component = &other.component;
            let _ = write!(
                text,
                ", {:?} {} {:.2}?",
                component.kind, component.name, other.confidence
            );
        }
        let _ = write!(text, ", asks: {}", verdict.ask.join("; "));
    }
    text
}

fn print_summary(lines: &[Line]) {
    for (strength, name) in [
        (Strength::Hard, "hard"),
        (Strength::Intermittent, "intermittent"),
    ] {
        let mut seconds: Vec<f64> = lines
            .iter()
            .filter(|line| line.fault.is_some_and(|fault| fault.strength() == strength))
            .filter_map(|line| line.outcome.as_ref().ok())
            .map(|(localized, _)| localized.took.as_secs_f64())
            .collect();
        seconds.sort_by(f64::total_cmp);
        if let Some(median) = seconds.get(seconds.len() / 2) {
            let worst = seconds.last().unwrap_or(median);
            println!("{name} faults: median {median:.1} s, longest {worst:.1} s");
        }
    }
    let good = lines.iter().filter(|line| passed(line)).count();
    println!("{good} passed, {} failed", lines.len() - good);
}
