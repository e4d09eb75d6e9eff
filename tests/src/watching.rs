//! `lab watch`: switch one fault on and wait until scheduled rounds alone have raised a verdict on it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::address::SERVICE;
use crate::clock;
use crate::expectation::{Expected, Judgement, judge};
use crate::fault::Fault;
use crate::mesh::{Mesh, Schedule};
use crate::net::Options;
use crate::said::Said;
use crate::topology::Lab;
use crate::verdicts::Setting;

/// Between two looks at the verdicts.
const PAUSE: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Clone, Debug, PartialEq)]
pub struct Vigil {
    /// The fault.
    pub fault: Fault,
    /// Good health before it.
    pub calm: Duration,
    /// How long its verdict is waited for.
    pub patience: Duration,
    /// The meshes that watch.
    pub meshes: Vec<Setting>,
    /// Options of the topology.
    pub options: Options,
}

/// Prints when each mesh named the fault; true when all did and none raised anything else.
pub fn run(vigil: &Vigil) -> Result<bool> {
    let mut lab = Lab::up(vigil.options).context("the topology")?;
    let mut meshes = Vec::new();
    for setting in &vigil.meshes {
        let certificates = &lab.certificates;
        meshes.push(Mesh::start(
            &lab.run,
            *setting,
            certificates,
            Schedule::Dense,
        )?);
    }
    std::thread::sleep(vigil.calm);
    let mut good = true;
    for mesh in &mut meshes {
        mesh.check()?;
        for verdict in raised(mesh)? {
            good = false;
            let name = mesh.setting.name();
            println!("{name}: raised in good health: {}", described(&verdict)?);
        }
    }
    vigil.fault.apply(&mut lab)?;
    let named = wait(vigil, &mut meshes)?;
    vigil.fault.revert(&mut lab)?;
    Ok(good && named)
}

/// Waits until every mesh has named the fault, or for as long as there is patience.
fn wait(vigil: &Vigil, meshes: &mut [Mesh]) -> Result<bool> {
    let start = clock::now();
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<&mut Mesh> = meshes.iter_mut().collect();
    let mut good = true;
    while !waiting.is_empty() {
        if start.elapsed() > vigil.patience {
            for mesh in waiting {
                println!("{}: nothing named in time", mesh.setting.name());
            }
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
        let mut left = Vec::new();
        for mesh in waiting {
            mesh.check()?;
            let mut named = false;
            for verdict in raised(mesh)? {
                let text = described(&verdict)?;
                if told.insert(format!("{} {text}", mesh.setting.name())) {
                    let judgement = judged(vigil, &verdict)?;
                    let (name, after) = (mesh.setting.name(), start.elapsed().as_secs_f64());
                    println!("{name}: {after:.0} s after the fault: {text}: {judgement:?}");
                    named |= judgement == Judgement::Right;
                    good &= !is_false(&judgement, &verdict);
                }
            }
            if !named {
                left.push(mesh);
            }
        }
        waiting = left;
    }
    Ok(good)
}

/// The verdicts that nobody had asked for.
fn raised(mesh: &Mesh) -> Result<Vec<Value>> {
    let kept = mesh.meshctl_json(&["verdicts", SERVICE])?;
    let Value::Array(kept) = kept else {
        bail!("not a list: {kept}");
    };
    Ok(kept
        .into_iter()
        .filter(|v| v["raised"].is_object())
        .collect())
}

fn described(kept: &Value) -> Result<String> {
    let verdict: Said = serde_json::from_value(kept.clone())?;
    let began = kept["raised"]["began_at"].as_str().unwrap_or("unknown");
    let faults = verdict.faults.iter().map(|fault| {
        format!(
            "{:?} {} {} {:.3}, rate {:.3}",
            fault.kind, fault.name, fault.mode, fault.confidence, fault.rate.estimate
        )
    });
    let faults: Vec<String> = faults.collect();
    Ok(format!(
        "{} {:?} [{}], began about {began}",
        verdict.id,
        verdict.outcome,
        faults.join("; ")
    ))
}

fn judged(vigil: &Vigil, kept: &Value) -> Result<Judgement> {
    let verdict: Said = serde_json::from_value(kept.clone())?;
    let truth = vigil.fault.truth(vigil.options.balancer);
    Ok(judge(&Expected::Faults(truth), &verdict))
}

/// Whether a verdict names somebody who is well; candidates are no names.
fn is_false(judgement: &Judgement, kept: &Value) -> bool {
    matches!(judgement, Judgement::Wrong(_)) && kept["outcome"] == "fault"
}
