//! Writes drawn cases as files: `NNNN.case.json` as the scoring door reads them, and
//! `NNNN.truth.json` beside each.
//!
//! `cargo run --release -p simulation --example cases -- --world nominal --probes 12000 --seed 1 --count 10 DIR`

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use simulation::{World, draw};

#[derive(Parser)]
struct Options {
    /// Which world.
    #[arg(long, default_value = "nominal", value_parser = world)]
    world: World,
    /// Probes of a case, of all vantage points together.
    #[arg(long, default_value_t = 12_000)]
    probes: u32,
    /// The first case's seed; the others count up.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases.
    #[arg(long, default_value_t = 10)]
    count: u64,
    /// Where to.
    dir: PathBuf,
}

fn world(name: &str) -> Result<World> {
    let found = World::ALL.into_iter().find(|world| world.name() == name);
    found.ok_or_else(|| anyhow!("one of {}", World::ALL.map(World::name).join(", ")))
}

fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.dir)?;
    for seed in options.seed..options.seed + options.count {
        let drawn = draw(options.world, options.probes, seed);
        write(
            options.dir.join(format!("{seed:04}.case.json")),
            &drawn.case,
        )?;
        write(
            options.dir.join(format!("{seed:04}.truth.json")),
            &drawn.truth,
        )?;
    }
    Ok(())
}

fn write(path: PathBuf, what: &impl serde::Serialize) -> Result<()> {
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    serde_json::to_writer(BufWriter::new(file), what)?;
    Ok(())
}
