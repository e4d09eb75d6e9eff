//! `lab run`: switch each fault on, let every mesh localise it at the same time, and compare.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::asking::{Asked, Record, ask};
use crate::fault::{Fault, Strength};
use crate::mesh::{Mesh, Schedule};
use crate::net::Options;
use crate::topology::Lab;
use crate::verdicts::Setting;

/// Good health before the first question. Baselines come from it.
pub const CALM: Duration = Duration::from_secs(30);
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
    pub meshes: Vec<Setting>,
    /// Folder for the cases, one file for each fault or healthy run, and mesh.
    pub record: Option<PathBuf>,
    /// Options of the topology.
    pub options: Options,
}

/// Runs the plan; true when every verdict was as expected.
pub fn run(plan: &Plan) -> Result<bool> {
    let (mut lab, mut meshes) = start(plan.options, &plan.meshes)?;
    let record = plan.record.as_deref().map(Record::at).transpose()?;
    let mut all = Vec::new();
    for number in 1..=plan.healthy {
        let stem = format!("healthy-{number}");
        all.extend(ask(&mut meshes, None, record.as_ref(), &stem)?);
    }
    let balancer = plan.options.balancer;
    for fault in plan.faults.iter().filter(|fault| fault.fits(balancer)) {
        let name = fault.name();
        all.extend(during(
            &mut lab,
            &mut meshes,
            *fault,
            record.as_ref(),
            name,
        )?);
        std::thread::sleep(RECOVERY);
    }
    print_summary(&all);
    Ok(all.iter().all(Asked::passed))
}

/// The path and its meshes, after some time in good health.
pub fn start(options: Options, settings: &[Setting]) -> Result<(Lab, Vec<Mesh>)> {
    let lab = Lab::up(options).context("the topology")?;
    let mut meshes = Vec::new();
    for setting in settings {
        let usual = Schedule::Usual;
        meshes.push(Mesh::start(&lab.run, *setting, &lab.certificates, usual)?);
    }
    std::thread::sleep(CALM);
    Ok((lab, meshes))
}

/// Switches a fault on, asks, and switches it off whatever came of it.
pub fn during(
    lab: &mut Lab,
    meshes: &mut [Mesh],
    fault: Fault,
    record: Option<&Record>,
    stem: &str,
) -> Result<Vec<Asked>> {
    let large = fault.strikes_large_answers();
    for mesh in meshes.iter().filter(|_| large) {
        mesh.ask_for_large(true)?;
    }
    fault.apply(lab)?;
    std::thread::sleep(fault.settles());
    let done = ask(meshes, Some(fault), record, stem);
    fault.revert(lab)?;
    for mesh in meshes.iter().filter(|_| large) {
        mesh.ask_for_large(false)?;
    }
    done
}

fn print_summary(all: &[Asked]) {
    for (strength, name) in [
        (Strength::Hard, "hard"),
        (Strength::Intermittent, "intermittent"),
    ] {
        let mut seconds: Vec<f64> = all
            .iter()
            .filter(|asked| asked.fault.is_some_and(|f| f.strength() == strength))
            .filter_map(|asked| asked.answer.as_ref().ok())
            .map(|(localized, _)| localized.took.as_secs_f64())
            .collect();
        seconds.sort_by(f64::total_cmp);
        if let Some(median) = seconds.get(seconds.len() / 2) {
            let worst = seconds.last().unwrap_or(median);
            println!("{name} faults: median {median:.1} s, longest {worst:.1} s");
        }
    }
    let good = all.iter().filter(|asked| asked.passed()).count();
    println!("{good} passed, {} failed", all.len() - good);
}
