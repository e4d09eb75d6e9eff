//! Counted observations as a problem of the engine: every part in every mode that could show is a cause.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use crate::engine::fit::Fault;
use crate::engine::model::{
    Cause, Count, EVERY_PATH, Effect, Group, Habit, Kept, Meaning, Model, Nature, Numbers, Outcome,
    Restless, Shelter, Touch, Way, index16, index32,
};
use crate::facts::component::Kind;
use crate::facts::observation::Target;
use crate::facts::topology::VantageName;
use crate::judgement::carried::{self, Carried};
use crate::judgement::guilt;
use crate::judgement::habit;
use crate::judgement::words::Manner;
use crate::reading::cells::{Cell, Evidence, Tally};
use crate::reading::choosing;
use crate::world::mode::{Class, Known, MODES, Mode, Strikes, View, Word};
use crate::world::part::{Part, What};
use crate::world::path::{Alternative, Balancing, Crossing, PartId};
use crate::world::signature::{Distribution, Signatures, makes, slot};
use crate::world::symptom::{STAGES, Stage, Symptom};

/// Rate at which probes fail by chance, before anything is known of it.
const BACKGROUND: f64 = 0.003;
/// The share of answers that is late by chance before anything is known of a vantage point, and how many
/// late ones that knowledge is worth.
const LATE_SHARE: f64 = 0.004;
const LATE_BEFORE: f64 = 1.0;
/// Late answers come in clusters, so that so many times as many may fall on one target.
const CLUSTERED: f64 = 3.0;
/// The lowest rate that counts as a fault: within minutes a lower rate of loss cannot be told from a
/// noisy network.
const FLOOR: f64 = 0.03;

/// A part that fails in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hypothesis {
    pub(crate) part: PartId,
    pub(crate) mode: usize,
}

/// What nothing makes by chance happens all the same, once in a while.
const HARDLY: f64 = 0.01;

/// The counts with everything that the inference needs.
pub(crate) struct Problem<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) model: Model,
    signatures: &'a Signatures,
    /// What each cause of the model is.
    pub(crate) hypotheses: Vec<Hypothesis>,
    /// What was seen of each where it could show, by signature.
    pub(crate) habits: Vec<BTreeMap<u16, Distribution>>,
    /// For each part the cells that cross it.
    pub(crate) cells_of: Vec<Vec<usize>>,
    /// The members of each part that is a whole, two at least.
    pub(super) members: BTreeMap<PartId, Vec<PartId>>,
}

impl<'a> Problem<'a> {
    /// Prepares the evidence.
    pub(crate) fn new(
        evidence: &'a Evidence,
        signatures: &'a Signatures,
        carried: &Carried,
    ) -> Self {
        let mut cells_of = vec![Vec::new(); evidence.parts.len()];
        for (index, cell) in evidence.cells.iter().enumerate() {
            for crossing in crossings(cell) {
                let cells: &mut Vec<usize> = &mut cells_of[crossing.part];
                if cells.last() != Some(&index) {
                    cells.push(index);
                }
            }
        }
        let table = signatures.all().iter();
        let table = table
            .map(|d| d.map_or(Vec::new(), |d| d.to_vec()))
            .collect();
        let mut problem = Self {
            evidence,
            model: Model::new(evidence.windows, FLOOR, table),
            signatures,
            hypotheses: Vec::new(),
            habits: Vec::new(),
            members: guilt::members(&evidence.parts),
            cells_of,
        };
        problem.add_cells();
        problem.add_causes(carried);
        problem
    }

    fn add_cells(&mut self) {
        let mut kin = Numbers::default();
        self.model.noises = vec![BACKGROUND];
        let lateness = lateness(self.evidence);
        for cell in &self.evidence.cells {
            let possible = || Symptom::ALL.iter().filter(|s| s.seen_at(cell.stage));
            let times = lateness.get(&cell.vantage).copied().unwrap_or(1.0);
            let chance = |s: Symptom| s.background() * if s.is_late() { times } else { 1.0 };
            let spread: f64 = possible().map(|s| chance(*s)).sum();
            let nature = Nature {
                noise: 0,
                own: 1.0,
                common: 0.0,
                spread,
                kinds: possible().count() as f64,
                kin: kin.number((&cell.arm.target, cell.stage)),
                forsaken: self.forsaken(cell),
            };
            let ways: Vec<Way> = cell
                .alternatives
                .iter()
                .map(|a| Way {
                    weight: a.weight,
                    server: a.backend.map(index16),
                })
                .collect();
            self.model.push_cell(nature, ways);
            for tally in &cell.tallies {
                let counts = tally.counts.iter().zip(0..);
                let symptom = tally.symptom.map(|s| s as u8);
                let share = tally.symptom.map_or(0.0, chance);
                let outcome = Outcome::possible(symptom, tally.served_by.map(index16), share);
                self.model.push_outcome(
                    outcome.keeping(tally.kept.map(kept)),
                    counts.map(|(count, window)| Count {
                        window,
                        count: *count,
                    }),
                );
            }
        }
    }

    /// What a balancer shows at a cell when all backends are out of rotation: one that ends connections answers
    /// with an error of its own.
    fn forsaken(&self, cell: &Cell) -> Option<u16> {
        let own = |c: &&Crossing| matches!(self.evidence.parts[c.part].what, What::Balancer(_));
        let says =
            |m: &Mode| m.is_of(Class::Blamable(Kind::LoadBalancer)) && m.word == Word::Http5xx;
        let mode = MODES.iter().position(says)?;
        let view = crossings(cell).find(own)?.view;
        let chosen = cell.alternatives.len() > 1 && self.evidence.balancing == Balancing::Proxied;
        let signature = || self.signature(mode, cell, view, cell.stage);
        (chosen && signature().is_some()).then(|| index16(slot(mode, view, cell.stage)))
    }

    /// Every hypothesis that could explain at least one failure better than chance does.
    fn add_causes(&mut self, carried: &Carried) {
        for (part, cells) in self.cells_of.iter().enumerate() {
            let p = &self.evidence.parts[part];
            for (mode, m) in MODES.iter().enumerate() {
                if !m.is_of(p.class()) || m.is_of_tls() && !p.speaks_tls {
                    continue;
                }
                let hypothesis = Hypothesis { part, mode };
                let told = |c: &usize| {
                    self.evidence.cells[*c]
                        .symptoms()
                        .any(|s| m.told == Some(s))
                };
                if m.told.is_some() && !cells.iter().any(told) {
                    continue;
                }
                let shows = |c: &usize| self.shows_plainly(hypothesis, &self.evidence.cells[*c]);
                if !cells.iter().any(shows) || !self.strikes_several(hypothesis) {
                    continue;
                }
                let touches = cells.iter().flat_map(|c| self.touches(hypothesis, *c));
                let mut touches: Vec<Touch> = touches.collect();
                let by_chance = self.by_chance(hypothesis);
                let expected = carried.expected(p, m).filter(|_| !self.is_veiled(p));
                let habit = self.habit(&touches);
                let before = expected.map(|e| &e.habits);
                let drawn = habit::drawn(&habit, before, self.signatures);
                accustom(&mut touches, drawn.signatures, &mut self.model.signatures);
                self.habits.push(habit);
                self.model.push_cause(Cause {
                    part: index32(part),
                    phase: m.phase() as u8,
                    log_odds: carried::log_odds(p, m, expected, drawn.as_before),
                    shelter: self.shelter(hypothesis),
                    habit: Habit::Lasting,
                    restless: Restless::default().weighed(|_| libm::log(by_chance)),
                    meaning: match m.class {
                        Class::Blamable(_) | Class::Toward | Class::Zone | Class::NameServers => {
                            Meaning::Fault
                        }
                        Class::Firewall | Class::NotServed => Meaning::Nothing,
                    },
                    touches,
                    passes: Default::default(),
                });
                self.hypotheses.push(hypothesis);
            }
        }
    }

    /// Whether all that a part was blamed for before may as well have been done by what stands behind it and is not
    /// declared, or before it: then nothing more is expected of it than at first, or what hardly tells the two apart
    /// would weigh anew each time that they fail.
    fn is_veiled(&self, part: &Part) -> bool {
        let mut parts = self.evidence.parts.iter();
        let undeclared = parts.any(|other| matches!(other.what, What::Origin(_)));
        let one_of_them = match part.what {
            What::Provider(_) | What::OriginPath { .. } | What::Balancer(_) | What::Origin(_) => {
                true
            }
            What::Access(_)
            | What::Resolver(_)
            | What::NameServer(_)
            | What::NameServers(_)
            | What::Zone(_)
            | What::Edge(_)
            | What::Address(_)
            | What::Shared(_)
            | What::Toward { .. }
            | What::LbBackendPath { .. }
            | What::Backend(_)
            | What::Return { .. }
            | What::Barred { .. }
            | What::NotServed(_) => false,
        };
        undeclared && one_of_them
    }

    /// What was seen where a cause with these touches could show, by signature.
    fn habit(&self, touches: &[Touch]) -> BTreeMap<u16, Distribution> {
        let mut cells: BTreeMap<u16, BTreeSet<u32>> = BTreeMap::new();
        for touch in touches {
            if let Effect::Fail(signature) = touch.effect {
                cells.entry(signature).or_default().insert(touch.cell);
            }
        }
        let seen = |cells: BTreeSet<u32>| {
            let cells = cells.iter().map(|c| &self.evidence.cells[*c as usize]);
            failures(cells)
        };
        let habit = cells.into_iter();
        habit
            .map(|(signature, cells)| (signature, seen(cells)))
            .collect()
    }

    /// How readily what is seen of a hypothesis comes about while nothing is at fault: 1 for packets that
    /// are lost and answers that are late, next to 0 for certificates that are over. Unrest makes the former.
    fn by_chance(&self, hypothesis: Hypothesis) -> f64 {
        let cells = self.cells_of[hypothesis.part].iter();
        let cells = cells.map(|index| &self.evidence.cells[*index]);
        let (mut share, mut all) = (0.0, 0.0);
        for cell in cells {
            for tally in &cell.tallies {
                let shown = tally.symptom;
                if let Some(symptom) = shown.filter(|s| self.explains(hypothesis, cell, *s)) {
                    let total = tally.total() as f64;
                    share += total * symptom.background().min(1.0);
                    all += total;
                }
            }
        }
        (share / all.max(1.0)).clamp(HARDLY, 1.0)
    }

    /// Whether what several share shows at more than one of them, where these were probed themselves: at
    /// one alone it would be that one's.
    fn strikes_several(&self, hypothesis: Hypothesis) -> bool {
        if !matches!(self.evidence.parts[hypothesis.part].what, What::Shared(_)) {
            return true;
        }
        let cells = self.cells_of[hypothesis.part].iter();
        let cells = cells.map(|index| &self.evidence.cells[*index]);
        let straight: Vec<&Cell> = cells
            .filter(|cell| matches!(cell.arm.target, Target::Backend { .. }))
            .filter(|cell| self.visible(hypothesis, cell))
            .collect();
        let probed: BTreeSet<&Target> = straight.iter().map(|c| &c.arm.target).collect();
        let struck = straight.iter().filter(|c| self.shows(hypothesis, c));
        let struck: BTreeSet<&Target> = struck.map(|c| &c.arm.target).collect();
        probed.len() < 2 || struck.len() > 1
    }

    /// What a hypothesis does to the paths of a cell.
    fn touches(&self, hypothesis: Hypothesis, index: usize) -> Vec<Touch> {
        let cell = &self.evidence.cells[index];
        let mut touches: Vec<Touch> = Vec::new();
        let crosses = |a: &&Alternative| a.crossed.iter().any(|c| c.part == hypothesis.part);
        let chosen = cell.alternatives.iter().filter(crosses).count() < cell.alternatives.len();
        for (path, alternative) in cell.alternatives.iter().enumerate() {
            let crossed = alternative.crossed.iter().enumerate();
            for (order, crossing) in crossed.filter(|(_, c)| c.part == hypothesis.part) {
                let touch = |stage, effect| Touch {
                    cell: index32(index),
                    path: index16(path),
                    order: index16(order),
                    group: group(hypothesis.mode, crossing.view, chosen, (stage, effect)),
                    effect,
                };
                let visible = |view, stage| {
                    let signature = self.signature(hypothesis.mode, cell, view, stage);
                    signature.is_some()
                };
                if visible(crossing.view, cell.stage) {
                    let signature = slot(hypothesis.mode, crossing.view, cell.stage);
                    touches.push(touch(cell.stage, Effect::Fail(index16(signature))));
                }
                let before = match (self.evidence.balancing, crossing.view) {
                    // What is met straight once the balancer has connected.
                    (Balancing::Relayed, view) if chosen && view.is_direct() => View::BehindRelay,
                    _ => crossing.view,
                };
                let gates = self.gates(cell).iter();
                let earlier = gates.filter(|stage| visible(before, **stage));
                touches.extend(earlier.map(|stage| touch(*stage, Effect::Gate)));
            }
        }
        merge_paths(touches, cell.alternatives.len())
    }

    /// The stages that decide which of several paths lead to a cell: where one connection is one choice, a
    /// backend that refuses it never gets to see a request.
    fn gates(&self, cell: &Cell) -> &'static [Stage] {
        if cell.alternatives.len() == 1 {
            return &[];
        }
        match (self.evidence.balancing, cell.stage) {
            (Balancing::Forwarded | Balancing::Translated, Stage::Http) => {
                &[Stage::Tcp, Stage::Tls]
            }
            (Balancing::Forwarded | Balancing::Translated, Stage::Tls) => &[Stage::Tcp],
            // The balancer ends the connection itself, and begins its own when the first bytes come.
            (Balancing::Relayed, Stage::Http) => &[Stage::Tls],
            (Balancing::Proxied, _)
            | (
                _,
                Stage::Dns
                | Stage::Tcp
                | Stage::Tls
                | Stage::Arrive
                | Stage::Answer
                | Stage::Return,
            ) => &[],
        }
    }

    /// How proxies in front bear on a hypothesis.
    fn shelter(&self, hypothesis: Hypothesis) -> Shelter {
        let part = &self.evidence.parts[hypothesis.part];
        // A proxy that seldom uses a port again is spared.
        if MODES[hypothesis.mode].strikes == Strikes::ReusedPorts {
            return Shelter::Optional;
        }
        match &part.what {
            What::Backend(_) | What::LbBackendPath { .. } if MODES[hypothesis.mode].lossy => {
                Shelter::ChosenLossy
            }
            What::Backend(_) | What::LbBackendPath { .. } => Shelter::Chosen,
            What::NameServers(_) | What::Zone(_) => Shelter::Cached,
            // Who loses everything that leaves a host loses what goes to the balancer, too.
            What::Return { to, .. } if to.is_wide() => Shelter::ChosenLossy,
            What::Return { .. } => Shelter::ChosenWay,
            What::Access(_)
            | What::Resolver(_)
            | What::NameServer(_)
            | What::Edge(_)
            | What::Provider(_)
            | What::Address(_)
            | What::OriginPath { .. }
            | What::Origin(_)
            | What::Shared(_)
            | What::Balancer(_)
            | What::Toward { .. }
            | What::Barred { .. }
            | What::NotServed(_) => Shelter::Optional,
        }
    }

    /// What a fault is.
    pub(crate) fn hypothesis(&self, fault: &Fault) -> Hypothesis {
        self.hypotheses[fault.cause]
    }

    /// Whether a failure in the cell is one that the hypothesis makes.
    pub(crate) fn shows(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        let mut symptoms = cell.tallies.iter().filter_map(|t| t.symptom);
        symptoms.any(|s| self.explains(hypothesis, cell, s))
    }

    /// The same, where a mode that needs a reused port is met by one straight at its component: behind
    /// proxies it looks like any other lost connection, and their ports are their own.
    fn shows_plainly(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        let again = |c: &Crossing| c.part == hypothesis.part && c.view == View::ReusedPort;
        let plain = match MODES[hypothesis.mode].strikes {
            Strikes::All
            | Strikes::LongAnswers
            | Strikes::LargeObjects
            | Strikes::PackedAnswers
            | Strikes::LargeHellos
            | Strikes::Bursts
            | Strikes::Sessions
            | Strikes::Validators => true,
            Strikes::ReusedPorts => crossings(cell).any(again),
        };
        plain && self.shows(hypothesis, cell)
    }

    /// Whether a symptom in the cell is one that the hypothesis makes.
    pub(crate) fn explains(&self, hypothesis: Hypothesis, cell: &Cell, symptom: Symptom) -> bool {
        let mut crossed = crossings(cell).filter(|c| c.part == hypothesis.part);
        crossed.any(|c| {
            let signature = self.signature(hypothesis.mode, cell, c.view, cell.stage);
            signature.is_some_and(|d| d[symptom as usize] > makes(c.view))
        })
    }

    /// What the hypothesis would show as in the cell, most of the time.
    pub(crate) fn likeliest(&self, hypothesis: Hypothesis, cell: &Cell) -> Option<Symptom> {
        let signature = self.signatures_in(hypothesis, cell).next()?;
        let symptoms = Symptom::ALL.iter().copied();
        symptoms.max_by(|a, b| signature[*a as usize].total_cmp(&signature[*b as usize]))
    }

    /// In what manner direct probes of the component go wrong.
    pub(crate) fn manner(hypothesis: Hypothesis) -> Manner {
        let first = MODES[hypothesis.mode].direct.first();
        let symptoms = first.map_or(&[][..], |(_, symptoms)| *symptoms);
        Manner::of(symptoms.iter().map(|(symptom, _)| *symptom))
    }

    /// Whether the hypothesis would show at the cell's stage at all.
    pub(crate) fn visible(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        self.signatures_in(hypothesis, cell).next().is_some()
    }

    fn signatures_in<'s>(
        &'s self,
        hypothesis: Hypothesis,
        cell: &'s Cell,
    ) -> impl Iterator<Item = &'s Distribution> {
        crossings(cell)
            .filter(move |c| c.part == hypothesis.part)
            .filter_map(move |c| self.signature(hypothesis.mode, cell, c.view, cell.stage))
    }

    /// What a mode looks like in a cell through a view; `None` where it cannot be seen, or strikes no such
    /// probes.
    fn signature(
        &self,
        mode: usize,
        cell: &Cell,
        view: View,
        stage: Stage,
    ) -> Option<&Distribution> {
        let strikes = MODES[mode].strikes;
        let known = Known {
            long: cell.long,
            checked: cell.asked.validates,
            stuck: cell.stuck,
        };
        let met = strikes.meets(&cell.arm, known, stage);
        self.signatures.of(mode, view, stage).filter(|_| met)
    }

    /// Logarithm of the likelihood of a set of faults over that of others, in one cell.
    pub(crate) fn cell_gain(&self, index: usize, faults: &[Fault], others: &[Fault]) -> f64 {
        self.model.log_likelihood(index, faults) - self.model.log_likelihood(index, others)
    }

    /// The part of a cell's likelihood that its failures make, as a logarithm.
    pub(crate) fn failure_likelihood(&self, index: usize, faults: &[Fault]) -> f64 {
        self.model
            .log_likelihood_of(index, faults, |o| o.symptom.is_some())
    }

    /// The share of a cell's successes that a set of faults would rather have failed than others would.
    pub(crate) fn predicted(&self, index: usize, faults: &[Fault], others: &[Fault]) -> f64 {
        let passed = self.evidence.cells[index].trials() - self.evidence.cells[index].failed();
        let likelihood = |faults: &[Fault]| {
            self.model
                .log_likelihood_of(index, faults, |o| o.symptom.is_none())
        };
        let lost = likelihood(others) - likelihood(faults);
        1.0 - libm::exp(-lost.max(0.0) / passed.max(1) as f64)
    }
}

/// How many times the usual share of answers is late by chance at each vantage point, by the calmer half
/// of what it asks: what a fault makes late, others in the same place do not wait for.
fn lateness(evidence: &Evidence) -> BTreeMap<VantageName, f64> {
    let mut shares: BTreeMap<&VantageName, Vec<(f64, f64)>> = BTreeMap::new();
    for cell in &evidence.cells {
        if matches!(cell.stage, Stage::Dns | Stage::Http) {
            let late = cell.tallies.iter();
            let late = late.filter(|t| t.symptom.is_some_and(Symptom::is_late));
            let late: u64 = late.map(Tally::total).sum();
            let cells = shares.entry(&cell.vantage).or_default();
            cells.push((late as f64, cell.trials() as f64));
        }
    }
    let times = shares.into_iter().map(|(vantage, mut cells)| {
        cells.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let calmer = &cells[..cells.len().div_ceil(2)];
        let (late, of) = calmer
            .iter()
            .fold((0.0, 0.0), |(late, of), cell| (late + cell.0, of + cell.1));
        let share = CLUSTERED * (late + LATE_BEFORE) / (of + LATE_BEFORE / LATE_SHARE);
        let usual = BACKGROUND * Symptom::Late.background();
        (vantage.clone(), (share / usual).max(1.0))
    });
    times.collect()
}

/// Gives a cause signatures of its own. Where there is no number left for one, it keeps that of all.
fn accustom(touches: &mut [Touch], drawn: BTreeMap<u16, Distribution>, tables: &mut Vec<Vec<f64>>) {
    let mut own: BTreeMap<u16, u16> = BTreeMap::new();
    for (signature, drawn) in drawn {
        if let Ok(place) = u16::try_from(tables.len()) {
            tables.push(drawn.to_vec());
            own.insert(signature, place);
        }
    }
    for touch in touches {
        if let Effect::Fail(signature) = &mut touch.effect {
            *signature = own.get(signature).copied().unwrap_or(*signature);
        }
    }
}

fn kept(kept: choosing::Kept) -> Kept {
    Kept {
        server: index16(kept.by),
        share: kept.share(),
    }
}

/// How often each symptom was seen in some cells.
fn failures<'c>(cells: impl Iterator<Item = &'c Cell>) -> Distribution {
    let mut seen = [0.0; Symptom::COUNT];
    for tally in cells.flat_map(|cell| &cell.tallies) {
        if let Some(symptom) = tally.symptom {
            seen[symptom as usize] += tally.total() as f64;
        }
    }
    seen
}

/// `chosen` says that a balancer chooses the part among others: who only forwards connections may have taken
/// it out of rotation as well. A handshake that loses single packets comes about all the same, mostly, so that
/// it keeps no more probes from what follows than are lost there.
fn group(mode: usize, view: View, chosen: bool, (stage, effect): (Stage, Effect)) -> Group {
    let later = matches!(stage, Stage::Tls | Stage::Http) || effect == Effect::Gate;
    match (chosen, MODES[mode].lossy && later) {
        _ if !view.is_direct() => Group::Behind,
        (true, true) => Group::BehindData,
        (true, false) => Group::Behind,
        (false, true) => Group::Data,
        (false, false) => Group::Front,
    }
}

/// One touch in the place of those that are alike on every path.
fn merge_paths(touches: Vec<Touch>, paths: usize) -> Vec<Touch> {
    let mut merged: Vec<Touch> = Vec::new();
    for touch in &touches {
        let alike =
            |t: &&Touch| (t.order, t.group, t.effect) == (touch.order, touch.group, touch.effect);
        if touches.iter().filter(alike).count() < paths {
            merged.push(*touch);
        } else if !merged.iter().any(|t| alike(&t)) {
            merged.push(Touch {
                path: EVERY_PATH,
                ..*touch
            });
        }
    }
    merged
}

/// Every crossing of every path of a cell.
fn crossings(cell: &Cell) -> impl Iterator<Item = &Crossing> {
    cell.alternatives.iter().flat_map(|a| &a.crossed)
}

const _: () = assert!(MODES.len() * View::COUNT * STAGES.len() < u16::MAX as usize);
