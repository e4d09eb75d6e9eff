//! What probes of a cell come to while causes act: a mixture over the ways that they may take, and along
//! each way the first part that fails decides.

use alloc::vec::Vec;

use super::model::{
    Acting, Cell, EVERY_PATH, Effect, Group, Kept, Model, Outcome, Touch, Way, index16, index32,
};

/// No probability is taken to be smaller.
pub(super) const TINY: f64 = 1e-12;

/// A proxy without anybody to choose turns its clients away with this probability.
const FORSAKES: f64 = 0.5;

/// The ways of a cell while causes act, made ready for many outcomes and for one cause more.
pub(crate) struct Mixture<'a> {
    model: &'a Model,
    cell: &'a Cell,
    ways: &'a [Way],
    /// Whether what keeps probes from a way changes anything.
    gated: bool,
    /// Whether some proxy keeps its clients away from a cause.
    masks: bool,
    passages: &'a [Passage],
    hits: &'a [Hit],
}

/// Room to work in, for one mixture after the other.
#[derive(Default)]
pub(crate) struct Room {
    /// By way; none where nobody acts.
    passages: Vec<Passage>,
    /// By passage, in the order of the way.
    hits: Vec<Hit>,
    /// Whether some proxy keeps its clients away from a cause.
    masks: bool,
}

/// A way while causes act.
#[derive(Clone, Copy)]
struct Passage {
    /// Probability that nothing keeps probes from coming to the cell.
    gate: f64,
    /// Probability that nothing fails them there.
    survival: f64,
    /// A proxy keeps its clients away.
    closed: bool,
    /// Places of the first hit, and after the last one.
    hits: (u32, u32),
}

/// A way on which nobody acts.
const FREE: Passage = Passage {
    gate: 1.0,
    survival: 1.0,
    closed: false,
    hits: (0, 0),
};

/// What an outcome comes to over all ways: sums of weights towards it, and of all weights.
#[derive(Clone, Copy)]
struct Sums {
    share: f64,
    whole: f64,
    /// Probability of coming to the cell, by the last way.
    came: f64,
}

/// Something that fails probes on a way.
#[derive(Clone, Copy)]
struct Hit {
    order: u16,
    theta: f64,
    signature: u16,
    /// Probability that it is the first to fail a probe.
    first: f64,
}

/// One cause more.
#[derive(Clone, Copy)]
pub(super) enum More<'a> {
    /// It fails every probe, in this group alone.
    Hard(&'a [Touch], Group),
    /// The proxy in front keeps its clients away from it.
    Masked(&'a [Touch]),
}

/// One cause more beside those who act, made ready for many outcomes.
#[derive(Default)]
pub(super) struct Added {
    /// By way.
    ways: Vec<Extra>,
    /// The ways that it touches, each once, where it does no more than fail probes on some.
    some: Option<Vec<u16>>,
    masks: bool,
}

/// What one cause more does on a way.
#[derive(Clone, Copy)]
struct Extra {
    closes: bool,
    stops: bool,
    strikes: Option<Strike>,
}

/// Where one cause more first fails probes on a way.
#[derive(Clone, Copy)]
struct Strike {
    /// How many hits of others come before it, and the probability of passing them.
    after: u32,
    survival: f64,
    signature: u16,
}

/// Nothing more.
const NOTHING_MORE: Extra = Extra {
    closes: false,
    stops: false,
    strikes: None,
};

impl<'a> Mixture<'a> {
    pub(crate) fn new(
        model: &'a Model,
        cell: &'a Cell,
        acting: &[Acting<'_>],
        room: &'a mut Room,
    ) -> Self {
        room.fill(model, cell, acting);
        Self::over(model, cell, room)
    }

    /// The mixture that a room was filled for.
    pub(super) fn over(model: &'a Model, cell: &'a Cell, room: &'a Room) -> Self {
        let ways = model.ways(cell);
        Self {
            model,
            cell,
            ways,
            gated: gated(ways, cell),
            masks: room.masks,
            passages: &room.passages,
            hits: &room.hits,
        }
    }

    fn passage(&self, place: usize) -> Passage {
        self.passages.get(place).copied().unwrap_or(FREE)
    }

    /// An outcome's probability.
    pub(crate) fn probability(&self, outcome: &Outcome) -> f64 {
        let (share, whole) = self.shares(outcome).with_chance;
        share / whole
    }

    /// Numerator and denominator of an outcome's probability.
    pub(super) fn shares(&self, outcome: &Outcome) -> Shares {
        let sums = match self.passages.is_empty() {
            true => self.over_free_ways(outcome),
            false => self.over_ways(outcome, &[], self.masks),
        };
        Shares {
            sums,
            with_chance: self.with_chance(outcome, sums),
        }
    }

    /// Makes one cause more ready.
    pub(super) fn add(&self, more: More<'_>, added: &mut Added) {
        added.masks = more.masks();
        added.ways.clear();
        let places = 0..index16(self.ways.len());
        let extras = places.map(|place| Extra {
            closes: more.closes(place),
            stops: self.gated && more.stops(place),
            strikes: more.hit(place).map(|hit| self.strike(place, hit)),
        });
        added.ways.extend(extras);
        added.some = match more {
            More::Hard(touches, group) if !self.masks && only_fails_some_ways(touches) => {
                let mut some = added.some.take().unwrap_or_default();
                some.clear();
                for touch in touches.iter().filter(|touch| touch.group == group) {
                    if !some.contains(&touch.path) {
                        some.push(touch.path);
                    }
                }
                Some(some)
            }
            More::Hard(..) | More::Masked(_) => None,
        };
    }

    fn strike(&self, place: u16, (order, signature): (u16, u16)) -> Strike {
        let hits = self.hits_on(&self.passage(usize::from(place)));
        let before = hits.iter().take_while(|hit| hit.order <= order);
        let (mut after, mut survival) = (0, 1.0);
        for hit in before {
            after += 1;
            survival *= 1.0 - hit.theta;
        }
        Strike {
            after,
            survival,
            signature,
        }
    }

    /// The same with one cause more. Both are linear in the rate of each touch.
    pub(super) fn shares_with(
        &self,
        outcome: &Outcome,
        known: &Shares,
        added: &Added,
    ) -> (f64, f64) {
        let sums = match &added.some {
            Some(some) => self.over_ways_touched(outcome, known.sums, &added.ways, some),
            None => self.over_ways(outcome, &added.ways, self.masks || added.masks),
        };
        self.with_chance(outcome, sums)
    }

    /// With what slips in from the layer before or away to the next one, and with the background.
    fn with_chance(&self, outcome: &Outcome, sums: Sums) -> (f64, f64) {
        let Sums {
            mut share, whole, ..
        } = sums;
        let slipped = self.cell.slip * (1.0 - sums.came);
        if outcome.symptom.is_some() {
            share = share * (1.0 - self.cell.late) + slipped;
        } else {
            share += self.cell.late * (whole - share);
        }
        let whole = (whole + slipped).max(TINY);
        let Cell {
            background, spread, ..
        } = self.cell;
        let by_chance = background * outcome.chance;
        let share = share * (1.0 - background * spread) + by_chance * whole;
        (share.max(TINY * whole), whole)
    }

    fn over_ways(&self, outcome: &Outcome, extras: &[Extra], masks: bool) -> Sums {
        let sums = self.over_open_ways(outcome, extras, masks);
        if masks && sums.whole + self.cell.slip * (1.0 - sums.came) <= 0.0 {
            return self.forsaken(outcome, self.over_open_ways(outcome, extras, false));
        }
        sums
    }

    /// Everything is out of rotation: then some proxies serve in spite of it, and the others say themselves that
    /// they have nobody.
    fn forsaken(&self, outcome: &Outcome, in_spite: Sums) -> Sums {
        let Some(signature) = self.cell.forsaken else {
            return in_spite;
        };
        let own = match (outcome.symptom, outcome.server) {
            (Some(symptom), None) => self.shows(signature, symptom),
            (None, _) | (_, Some(_)) => 0.0,
        };
        let own = own * in_spite.whole;
        Sums {
            share: in_spite.share + FORSAKES * (own - in_spite.share),
            ..in_spite
        }
    }

    /// Where nobody acts, every probe succeeds.
    fn over_free_ways(&self, outcome: &Outcome) -> Sums {
        let (mut share, mut whole) = (0.0, 0.0);
        let draw = Draw::new(self.ways, outcome.kept);
        for way in self.ways {
            let weight = draw.weight(way);
            whole += weight;
            if outcome.symptom.is_none() && may_serve(way, outcome) {
                share += weight;
            }
        }
        Sums {
            share,
            whole,
            came: 1.0,
        }
    }

    /// Over the ways that no proxy keeps its clients away from.
    fn over_open_ways(&self, outcome: &Outcome, extras: &[Extra], masks: bool) -> Sums {
        let mut sums = Sums {
            share: 0.0,
            whole: 0.0,
            came: 1.0,
        };
        let draw = Draw::new(self.ways, outcome.kept);
        for (place, way) in self.ways.iter().enumerate() {
            let passage = self.passage(place);
            let extra = extras.get(place).copied().unwrap_or(NOTHING_MORE);
            if masks && (passage.closed || extra.closes) {
                continue;
            }
            sums.came = if extra.stops { 0.0 } else { passage.gate };
            let weight = draw.weight(way) * sums.came;
            sums.whole += weight;
            if may_serve(way, outcome) {
                sums.share += weight * self.along(&passage, outcome.symptom, extra.strikes);
            }
        }
        sums
    }

    /// From the sums without one more cause: only the ways that it touches differ.
    fn over_ways_touched(
        &self,
        outcome: &Outcome,
        mut sums: Sums,
        extras: &[Extra],
        touched: &[u16],
    ) -> Sums {
        let draw = Draw::new(self.ways, outcome.kept);
        for place in touched.iter().map(|place| usize::from(*place)) {
            let way = &self.ways[place];
            if may_serve(way, outcome) {
                let passage = self.passage(place);
                let with = self.along(&passage, outcome.symptom, extras[place].strikes);
                let without = self.along(&passage, outcome.symptom, None);
                sums.share += draw.weight(way) * passage.gate * (with - without);
            }
        }
        sums.share = sums.share.max(0.0);
        sums
    }

    /// Along one way the first part that fails decides what is seen; what is `more` fails every probe.
    fn along(&self, passage: &Passage, symptom: Option<u8>, more: Option<Strike>) -> f64 {
        let Some(symptom) = symptom else {
            return match more {
                Some(_) => 0.0,
                None => passage.survival,
            };
        };
        let hits = self.hits_on(passage);
        let towards = |hits: &[Hit]| {
            let seen = |sum, hit: &Hit| sum + hit.first * self.shows(hit.signature, symptom);
            hits.iter().fold(0.0, seen)
        };
        match more {
            Some(strike) => {
                let before = towards(&hits[..strike.after as usize]);
                before + strike.survival * self.shows(strike.signature, symptom)
            }
            None => towards(hits),
        }
    }

    fn shows(&self, signature: u16, symptom: u8) -> f64 {
        self.model.signatures[usize::from(signature)][usize::from(symptom)]
    }

    fn hits_on(&self, passage: &Passage) -> &[Hit] {
        &self.hits[passage.hits.0 as usize..passage.hits.1 as usize]
    }
}

/// An outcome beside those who act, and what came before chance.
pub(super) struct Shares {
    sums: Sums,
    /// Numerator and denominator of its probability, chance included.
    pub(super) with_chance: (f64, f64),
}

/// Which way a probe takes: by lot, or by that of the probe before.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    by_lot: f64,
    /// How much likelier the ways by who was chosen before are than by lot.
    again: Option<(u16, f64)>,
}

impl Draw {
    pub(super) fn new(ways: &[Way], kept: Option<Kept>) -> Self {
        let own = |server: u16| ways.iter().filter(move |way| way.server == Some(server));
        let known = kept.filter(|kept| own(kept.server).next().is_some());
        Self {
            by_lot: 1.0 - known.map_or(0.0, |kept| kept.share),
            again: known.map(|Kept { server, share }| {
                let whole: f64 = ways.iter().map(|way| way.weight).sum();
                let own: f64 = own(server).map(|way| way.weight).sum();
                (server, share * whole / own)
            }),
        }
    }

    /// A way's share.
    pub(super) fn weight(&self, way: &Way) -> f64 {
        let again = self.again.filter(|(server, _)| way.server == Some(*server));
        way.weight * (self.by_lot + again.map_or(0.0, |(_, times)| times))
    }
}

/// Whether who answered may have served on a way.
pub(super) fn may_serve(way: &Way, outcome: &Outcome) -> bool {
    !matches!((outcome.server, way.server), (Some(a), Some(b)) if a != b)
}

fn only_fails_some_ways(touches: &[Touch]) -> bool {
    let mut touches = touches.iter();
    touches.all(|t| t.path != EVERY_PATH && t.effect != Effect::Gate)
}

/// Whether what keeps probes from a way of a cell changes anything.
fn gated(ways: &[Way], cell: &Cell) -> bool {
    ways.len() > 1 || cell.slip > 0.0
}

impl Room {
    /// Makes a cell ready while causes act.
    pub(super) fn fill(&mut self, model: &Model, cell: &Cell, acting: &[Acting<'_>]) {
        let ways = model.ways(cell);
        let gated = gated(ways, cell);
        self.masks = acting.iter().any(|a| a.masked);
        self.passages.clear();
        self.hits.clear();
        if !acting.is_empty() {
            (0..index16(ways.len())).for_each(|place| self.push_passage(gated, acting, place));
        }
    }

    fn push_passage(&mut self, gated: bool, acting: &[Acting<'_>], place: u16) {
        let from = self.hits.len();
        let mut passage = FREE;
        for a in acting {
            for touch in a.touches.iter().filter(|touch| on(touch, place)) {
                let theta = a.theta[touch.group as usize];
                passage.closed |= a.masked && keeps_from(touch, place);
                match touch.effect {
                    Effect::Gate if gated => passage.gate *= 1.0 - theta,
                    Effect::Gate => {}
                    Effect::Fail(signature) => {
                        passage.survival *= 1.0 - theta;
                        self.hits.push(Hit {
                            order: touch.order,
                            theta,
                            signature,
                            first: 0.0,
                        });
                    }
                }
            }
        }
        let hits = &mut self.hits[from..];
        if hits.len() > 1 {
            hits.sort_by_key(|hit| hit.order);
        }
        let mut survival = 1.0;
        for hit in hits {
            hit.first = survival * hit.theta;
            survival *= 1.0 - hit.theta;
        }
        passage.hits = (index32(from), index32(self.hits.len()));
        self.passages.push(passage);
    }
}

impl<'a> More<'a> {
    fn masks(self) -> bool {
        match self {
            Self::Masked(_) => true,
            Self::Hard(..) => false,
        }
    }

    /// Whether a proxy keeps its clients from a way.
    fn closes(self, place: u16) -> bool {
        match self {
            Self::Masked(touches) => touches.iter().any(|touch| keeps_from(touch, place)),
            Self::Hard(..) => false,
        }
    }

    /// Whether it keeps probes on a way from coming to the cell.
    fn stops(self, place: u16) -> bool {
        let mut hard = self.hard(place);
        hard.any(|touch| touch.effect == Effect::Gate)
    }

    /// Where on a way it first fails probes, and as what that shows.
    fn hit(self, place: u16) -> Option<(u16, u16)> {
        let hits = self.hard(place).filter_map(|touch| match touch.effect {
            Effect::Fail(signature) => Some((touch.order, signature)),
            Effect::Gate => None,
        });
        hits.min_by_key(|(order, _)| *order)
    }

    fn hard(self, place: u16) -> impl Iterator<Item = &'a Touch> {
        let (touches, group) = match self {
            Self::Hard(touches, group) => (touches, group),
            Self::Masked(_) => (&[][..], Group::Front),
        };
        let touches = touches.iter();
        touches.filter(move |touch| touch.group == group && on(touch, place))
    }
}

fn on(touch: &Touch, place: u16) -> bool {
    touch.path == EVERY_PATH || touch.path == place
}

/// Whether a proxy that keeps its clients from what touches this keeps them from a way. From what is on every way it
/// can keep nobody by another choice: then a cache answers, and what else is on the ways is met as ever.
fn keeps_from(touch: &Touch, place: u16) -> bool {
    touch.group.is_behind() && touch.path == place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::Nature;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Three ways of different weights and servers, a symptom that two signatures show differently.
    fn model() -> Model {
        let mut model = Model::new(1, 0.004, vec![vec![0.8, 0.2], vec![0.3, 0.7]]);
        model.noises = vec![1e-3];
        let nature = Nature {
            noise: 0,
            own: 1.0,
            common: 0.0,
            spread: 1.0,
            kinds: 2.0,
            kin: 0,
            forsaken: Some(1),
        };
        let ways = [(0.5, Some(0)), (0.3, Some(1)), (0.2, None)];
        let ways = ways.map(|(weight, server)| Way { weight, server });
        model.push_cell(nature, ways);
        model
    }

    fn touch(path: u16, order: u16, group: Group, effect: Effect) -> Touch {
        Touch {
            cell: 0,
            path,
            order,
            group,
            effect,
        }
    }

    fn acting(touches: &[Touch], theta: f64, masked: bool) -> Acting<'_> {
        Acting {
            touches,
            theta: [theta, theta / 2.0, 0.9 * theta, 0.45 * theta],
            masked,
        }
    }

    /// One cause more at the end of its rate is what it is as one of all.
    fn check(others: &[Acting<'_>], mine: &[Touch], kept: Option<Kept>) {
        let model = model();
        let cell = &model.cells[0];
        let (mut room, mut more_room) = (Room::default(), Room::default());
        let mut added = Added::default();
        let mixture = Mixture::new(&model, cell, others, &mut room);
        let seen = [None, Some(0), Some(1)].into_iter();
        for (symptom, server) in seen.flat_map(|s| [None, Some(0), Some(1)].map(|who| (s, who))) {
            let outcome = Outcome::possible(symptom, server, 0.5).keeping(kept);
            let known = mixture.shares(&outcome);
            for group in Group::ALL {
                let mut theta = [0.0; Group::COUNT];
                theta[group as usize] = 1.0;
                let with = |theta, masked| {
                    let me = Acting {
                        touches: mine,
                        theta,
                        masked,
                    };
                    let mut all: Vec<Acting<'_>> = others.to_vec();
                    all.push(me);
                    all
                };
                for (all, more) in [
                    (with(theta, false), More::Hard(mine, group)),
                    (with([0.0; Group::COUNT], true), More::Masked(mine)),
                ] {
                    let all = Mixture::new(&model, cell, &all, &mut more_room);
                    let (share, whole) = all.shares(&outcome).with_chance;
                    mixture.add(more, &mut added);
                    let (more_share, more_whole) = mixture.shares_with(&outcome, &known, &added);
                    assert!((share - more_share).abs() < 1e-12, "{share} {more_share}");
                    assert!((whole - more_whole).abs() < 1e-12, "{whole} {more_whole}");
                }
            }
        }
    }

    #[test]
    fn one_cause_more_is_as_one_of_all() {
        let fail = Effect::Fail(0);
        let other = [
            touch(EVERY_PATH, 3, Group::Front, Effect::Fail(1)),
            touch(1, 1, Group::Behind, fail),
        ];
        let gate = [touch(0, 0, Group::Front, Effect::Gate)];
        let here = [
            touch(0, 4, Group::Front, fail),
            touch(0, 2, Group::Front, Effect::Fail(1)),
            touch(1, 1, Group::Data, fail),
            touch(2, 0, Group::Behind, fail),
        ];
        let everywhere = [touch(EVERY_PATH, 2, Group::Front, fail)];
        let before = [
            touch(1, 0, Group::Front, Effect::Gate),
            touch(2, 5, Group::Front, fail),
        ];
        for mine in [&here[..], &everywhere, &before] {
            let kept = Kept {
                server: 1,
                share: 0.9,
            };
            for kept in [None, Some(kept)] {
                let check = |others: &[Acting<'_>]| check(others, mine, kept);
                check(&[]);
                check(&[acting(&other, 0.4, false)]);
                check(&[acting(&other, 0.4, true), acting(&gate, 0.7, false)]);
            }
        }
    }

    /// With every way closed half the proxies say so themselves, and half serve in spite of it.
    #[test]
    fn a_proxy_without_anybody_to_choose_may_say_so() {
        let model = model();
        let touches: Vec<Touch> = (0..3)
            .map(|path| touch(path, 0, Group::Behind, Effect::Fail(0)))
            .collect();
        let chance = |touches: &[Touch], outcome: &Outcome| {
            let mut room = Room::default();
            let acting = [acting(touches, 0.0, true)];
            Mixture::new(&model, &model.cells[0], &acting, &mut room).probability(outcome)
        };
        let refused = Outcome::possible(Some(1), None, 0.5);
        let served = Outcome::possible(None, None, 0.5);
        assert!((chance(&touches, &refused) - FORSAKES * 0.7).abs() < 0.01);
        assert!((chance(&touches, &served) - (1.0 - FORSAKES)).abs() < 0.01);
        // With one way left that one is taken.
        assert!(chance(&touches[..2], &refused) < 0.01);
        // Who was served by somebody was not turned away.
        let by = Outcome::possible(Some(1), Some(0), 0.5);
        assert!(chance(&touches, &by) < 0.01);
    }

    /// Requests that went where those before them did gain nothing for a server out of rotation.
    #[test]
    fn whom_a_balancer_chooses_is_hardly_evidence() {
        let model = model();
        let mine = [touch(1, 0, Group::Behind, Effect::Fail(0))];
        let gain = |outcome: &Outcome| {
            let mut room = Room::default();
            let mut of = |acting: &[Acting<'_>]| {
                let mixture = Mixture::new(&model, &model.cells[0], acting, &mut room);
                libm::log(mixture.probability(outcome))
            };
            of(&[acting(&mine, 0.0, true)]) - of(&[])
        };
        let told = Outcome::possible(None, Some(0), 0.5);
        assert!(gain(&told) > 0.1);
        let kept = Kept {
            server: 0,
            share: 0.99,
        };
        let again = gain(&told.keeping(Some(kept)));
        assert!((0.0..0.01).contains(&again), "{again}");
        // Of those that nobody is known to have served the rest is all there is.
        let untold = gain(&Outcome::possible(None, None, 0.5));
        assert!(untold.abs() < 1e-9, "{untold}");
    }
}
