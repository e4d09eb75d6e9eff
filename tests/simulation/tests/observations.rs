//! Properties of the simulated observations: what is drawn is drawn from the seed alone, nothing but
//! background goes wrong where nothing is wrong, and every mode shows.

use localize::{Case, Observation, Outcome};
use rand::SeedableRng;
use rand::rngs::StdRng;
use simulation::observed::course::Course;
use simulation::observed::history::{self, Fault, Met, SECOND};
use simulation::observed::localisation::{Asked, ask_about};
use simulation::observed::modes::{MODES, Mode};
use simulation::observed::site::{Check, Declared, Place, Site};
use simulation::observed::{Scored, ask};

const ASKED_US: u64 = 1_700_000_000 * SECOND;

/// An engine that never has had enough, and costs nothing.
fn idle(case: &Case) -> localize::Assessment {
    localize::localize(&Case {
        observations: Vec::new(),
        sightings: Vec::new(),
        ..case.clone()
    })
}

fn site(seed: u64) -> Site {
    Site::draw(&mut StdRng::seed_from_u64(seed))
}

fn watched(site: Site, faults: Vec<Fault>, seed: u64) -> Asked {
    ask_about(seed, site, faults, ASKED_US, idle)
}

/// Whether users would complain of a probe.
fn is_bad(seen: &Observation) -> bool {
    let late = seen.steps.iter().any(|step| step.took.0 > 300_000);
    let dns = seen.facts.dns.as_ref();
    let stale = dns.is_some_and(|dns| {
        dns.addresses
            .iter()
            .any(|ip| ip.to_string().ends_with("99"))
    });
    let http = seen.facts.http.as_ref();
    let other = http.is_some_and(|http| http.body_digest.starts_with("0dd0"));
    matches!(seen.outcome, Outcome::Failed { .. }) || late || stale || other
}

fn bad(asked: &Asked, from_us: u64, to_us: u64) -> (usize, usize) {
    let within = |seen: &&Observation| (from_us..to_us).contains(&seen.scheduled_us);
    let all: Vec<&Observation> = asked.case.observations.iter().filter(within).collect();
    (all.iter().filter(|seen| is_bad(seen)).count(), all.len())
}

/// A hard fault of a mode at a place, in its first way.
fn hard(mode: &'static Mode, place: Place, course: Course) -> Fault {
    Fault {
        place,
        mode,
        way: mode.ways[0],
        rate: 1.0,
        late_ms: 2_000.0,
        course,
        met: Met::default(),
    }
}

/// A site where everything is declared and probed, that a mode fits, and where.
fn fitting(mode: &Mode) -> Option<(Site, Place, u64)> {
    let sites = (0..10_000).map(|seed| (site(seed), seed));
    let all_seen = |site: &Site| {
        site.declared == Declared::Hosts
            && site
                .vantages
                .iter()
                .any(|v| v.point.host.is_none() && v.to_site_ms < 2.0)
            && site.vantages.len() < 6
            && site.page_bytes > 1_400
            && site.cached_s == 0
            && !site.edges.is_empty()
    };
    sites
        .filter(|(site, _)| all_seen(site))
        .find_map(|(site, seed)| {
            let places = history::places(&site, mode.sort);
            let place = places.into_iter().find(|place| mode.fits(&site, *place))?;
            Some((site, place, seed))
        })
}

#[test]
fn a_seed_tells_all() {
    for seed in [3, 17] {
        let (first, second) = (ask(seed, localize::localize), ask(seed, localize::localize));
        assert!(first.case == second.case, "seed {seed}");
        assert_eq!(Scored::new(&first).unwrap(), Scored::new(&second).unwrap());
    }
    assert!(ask(3, idle).case != ask(4, idle).case);
}

#[test]
fn where_nothing_is_wrong_hardly_anything_fails() {
    let mut probes = (0, 0);
    for seed in 0..12 {
        let asked = watched(site(seed), Vec::new(), seed);
        let (bad, all) = bad(&asked, 0, u64::MAX);
        assert!(all > 60, "seed {seed} has {all} probes");
        probes = (probes.0 + bad, probes.1 + all);
        assert!(Scored::new(&asked).unwrap().is_well());
    }
    let share = probes.0 as f64 / probes.1 as f64;
    assert!((1e-5..0.02).contains(&share), "{probes:?}");
}

#[test]
fn every_mode_shows() {
    for mode in MODES {
        let (mut site, place, seed) = fitting(mode).unwrap();
        site.every_s = None;
        site.check = Check::Never;
        let calm = watched(site.clone(), Vec::new(), seed);
        let fault = hard(mode, place, Course::steady(0, u64::MAX));
        let broken = watched(site, vec![fault], seed);
        let (usual, of) = bad(&calm, 0, u64::MAX);
        let (now, _) = bad(&broken, 0, u64::MAX);
        let met = broken.faults[0].met;
        let what = format!("{:?} {} at {place:?}, seed {seed}", mode.sort, mode.word);
        assert!(met.struck > 0, "{what} strikes nothing");
        assert!(
            now > usual + 5,
            "{what}: {now} bad probes and {usual} usually of {of}"
        );
    }
}

#[test]
fn what_is_over_strikes_no_more() {
    let mode = MODES.iter().find(|mode| mode.word == "http_5xx").unwrap();
    let (mut site, place, seed) = fitting(mode).unwrap();
    site.every_s = Some(5);
    let (from, to) = (ASKED_US - 600 * SECOND, ASKED_US - 300 * SECOND);
    let asked = watched(
        site,
        vec![hard(mode, place, Course::steady(from, to))],
        seed,
    );
    let share = |(bad, all): (usize, usize)| bad as f64 / all as f64;
    let (before, while_on) = (bad(&asked, 0, from), bad(&asked, from, to));
    let after = bad(&asked, to + 20 * SECOND, u64::MAX);
    assert!(share(while_on) > 0.02, "{while_on:?}");
    assert!(
        share(before) < 0.02 && share(after) < 0.02,
        "{before:?} {after:?}"
    );
    assert!(asked.faults[0].met.spared > 100);
}

#[test]
fn the_past_is_drawn_before_the_question() {
    let mut counts = [0_usize; 4];
    let mut past = 0;
    for seed in 0..2000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let site = Site::draw(&mut rng);
        let faults = history::draw(&mut rng, &site, ASKED_US);
        let now = faults.iter().filter(|f| f.course.lasts(ASKED_US)).count();
        counts[now] += 1;
        past += usize::from(faults.len() > now);
        assert!(faults.iter().all(|f| f.course.from_us <= ASKED_US));
        assert!(faults.iter().all(|f| f.mode.fits(&site, f.place)));
    }
    assert!((400..600).contains(&counts[0]), "{counts:?}");
    assert!((900..1200).contains(&counts[1]), "{counts:?}");
    assert!((1000..1300).contains(&past), "{past} of 2000 with a past");
}
