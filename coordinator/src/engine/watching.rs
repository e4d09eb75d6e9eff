//! The watch over the scheduled rounds of a service: rounds in their order, alarms out to be judged,
//! verdicts raised once and said to be over.

use std::collections::BTreeMap;
use std::sync::Arc;

use localize::watch::{Alarm, ClosedRound, FALSE_ALARMS_A_DAY, Over, Ruling, Watch};
use localize::{RoundId, ServiceName};

use super::rounds::{Cause, OpenRound};
use super::state::{Service, State};
use super::{Alarmed, Happening, Judged, Outlook, Refusal, Reply, What};
use crate::store::{Notice, Noticed, RaisedRecord, Store, StoreError, Write};

/// The watch over one service with what a restart need not keep.
#[derive(Debug, Default)]
pub(super) struct Watching {
    watch: Watch,
    /// Closed rounds that wait for an earlier one: those with time-outs close late, and the watch takes
    /// rounds in their order. As many as can be in flight.
    waiting: BTreeMap<RoundId, ClosedRound>,
    /// An alarm is being judged.
    judging: bool,
    /// Something was taken in since it was written down.
    dirty: bool,
    written_us: u64,
}

impl Watching {
    /// As the store has it. One that cannot be read begins anew: it holds nothing but evidence, which
    /// the next rounds bring again.
    pub(super) fn restore(
        store: &Store,
        name: &ServiceName,
        now_us: u64,
    ) -> Result<Self, StoreError> {
        let watch = match store.watch(name) {
            Ok(watch) => watch.unwrap_or_default(),
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(service = %name, %error, "the watch begins anew");
                Watch::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            watch,
            written_us: now_us,
            ..Self::default()
        })
    }

    /// The verdicts by which alarms stand.
    pub(super) fn standing(&self) -> Vec<String> {
        self.watch.standing().map(str::to_owned).collect()
    }

    fn write(&mut self, now_us: u64, service: &ServiceName) -> Write {
        self.dirty = false;
        self.written_us = now_us;
        Write::Watch {
            service: service.clone(),
            watch: Box::new(self.watch.clone()),
        }
    }
}

impl State {
    /// Hands a closed round to the watch, with those that have waited for it.
    pub(super) fn watch_round(&mut self, now_us: u64, id: RoundId, round: OpenRound) {
        let name = round.service;
        let scheduled = |open: &OpenRound| open.service == name && open.cause == Cause::Schedule;
        let earliest = self
            .rounds
            .iter()
            .find(|(_, open)| scheduled(open))
            .map(|(id, _)| *id);
        let Some(service) = self.services.get_mut(&name) else {
            return;
        };
        if let (Cause::Schedule, Some(every_us)) = (round.cause, every_us(service)) {
            let closed = ClosedRound {
                id,
                at_us: round.fire_at_us,
                every_us,
                glimpses: round.glimpses,
            };
            service.watching.waiting.insert(id, closed);
        }
        let watching = &mut service.watching;
        let mut over = Vec::new();
        let mut alarm = None;
        while let Some(first) = watching.waiting.first_entry() {
            if earliest.is_some_and(|open| open < *first.key()) {
                break;
            }
            let news = watching.watch.round(&first.remove());
            watching.dirty = true;
            over.extend(news.over);
            alarm = news.alarm.or(alarm);
        }
        self.say_over(now_us, &name, over);
        if let Some(alarm) = alarm {
            self.alarm(&name, alarm);
        }
    }

    fn alarm(&mut self, name: &ServiceName, alarm: Alarm) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if service.watching.judging {
            return;
        }
        tracing::info!(
            service = %name, group = ?alarm.group, since_us = alarm.since_us, rounds = alarm.rounds,
            struck = alarm.struck, "failures are more than they were; judging"
        );
        let alarmed = Alarmed {
            service: name.clone(),
            alarm,
        };
        service.watching.judging = self.outside.alarms.try_send(alarmed).is_ok();
    }

    /// An alarm was judged: what it says and does not stand yet is raised.
    pub(super) fn judged(&mut self, now_us: u64, alarmed: &Alarmed, judged: Option<Box<Judged>>) {
        let name = &alarmed.service;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        service.watching.judging = false;
        let (Some(judged), Some(every_us)) = (judged, every_us(service)) else {
            return;
        };
        let Judged {
            mut verdict,
            case_json,
        } = *judged;
        let watch = &mut service.watching.watch;
        let ruling = watch.judged(&alarmed.alarm, &verdict, &verdict.id, every_us);
        tracing::info!(service = %name, outcome = ?verdict.outcome, ?ruling, "alarm judged");
        let Ruling::Raise { over } = ruling else {
            return;
        };
        service.last_outcome = Some(verdict.outcome);
        service.version += 1;
        verdict.standing = service.watching.standing();
        let raised = RaisedRecord {
            began_us: alarmed.alarm.since_us,
            over: None,
            false_alarms_a_day: FALSE_ALARMS_A_DAY,
        };
        let writes = vec![
            Write::Raised {
                verdict: verdict.id.clone(),
                raised,
            },
            service.watching.write(now_us, name),
            Write::Notice(Notice {
                at_us: now_us,
                what: Noticed::Raised,
                verdict: verdict.id.clone(),
            }),
            Write::Verdict {
                verdict: verdict.clone(),
                case_json,
            },
        ];
        let happenings = self.outside.happenings.clone();
        // Who is told of a verdict can ask for it.
        self.note_and(writes, move |done| {
            if done.is_ok() {
                let what = What::Raised(Arc::new(verdict), raised);
                let _ = happenings.send(Happening {
                    at_us: now_us,
                    what,
                });
            }
        });
        self.say_over(now_us, name, over);
    }

    /// Somebody has asked, and finds what these verdicts had raised to be over.
    pub(super) fn mended(
        &mut self,
        now_us: u64,
        name: &ServiceName,
        verdicts: &[String],
        reply: Reply<Vec<String>>,
    ) {
        let Some(service) = self.services.get_mut(name) else {
            return reply.send(Err(Refusal::UnknownService(name.clone())));
        };
        let over = service.watching.watch.mended(verdicts);
        let standing = service.watching.standing();
        if over.is_empty() {
            return reply.send(Ok(standing));
        }
        let writes = self.over(now_us, name, &over);
        self.settle(writes, standing, reply);
        self.tell_over(now_us, name, over);
    }

    fn say_over(&mut self, now_us: u64, name: &ServiceName, over: Vec<Over>) {
        if over.is_empty() {
            return;
        }
        let writes = self.over(now_us, name, &over);
        self.note(writes);
        self.tell_over(now_us, name, over);
    }

    /// What is to be written down of what is over.
    fn over(&mut self, now_us: u64, name: &ServiceName, over: &[Over]) -> Vec<Write> {
        let mut writes: Vec<Write> = over
            .iter()
            .flat_map(|over| {
                let notice = Notice {
                    at_us: now_us,
                    what: Noticed::Over,
                    verdict: over.verdict.clone(),
                };
                let over = Write::Over {
                    verdict: over.verdict.clone(),
                    at_us: now_us,
                    ending: over.ending,
                };
                [over, Write::Notice(notice)]
            })
            .collect();
        if let Some(service) = self.services.get_mut(name) {
            service.version += 1;
            writes.push(service.watching.write(now_us, name));
        }
        writes
    }

    fn tell_over(&mut self, now_us: u64, name: &ServiceName, over: Vec<Over>) {
        for over in over {
            tracing::info!(service = %name, verdict = over.verdict, ending = ?over.ending, "over");
            self.happened(now_us, What::Over(name.clone(), over));
        }
    }

    /// Writes down the watches that were not written for so long.
    pub(super) fn write_watches(&mut self, now_us: u64, pause_us: u64) {
        let mut writes = Vec::new();
        for (name, service) in &mut self.services {
            let watching = &mut service.watching;
            if watching.dirty && now_us.saturating_sub(watching.written_us) >= pause_us {
                writes.push(watching.write(now_us, name));
            }
        }
        if !writes.is_empty() {
            self.note(writes);
        }
    }

    /// A service as its schedule sees it.
    pub(super) fn outlook(&self, name: &ServiceName) -> Result<Outlook, Refusal> {
        let service = self.service(name)?;
        Ok(Outlook {
            topology: self.path(name)?,
            every: service.file.every,
            twins: service.scheduled_twins(),
            trace: service.file.trace,
            watch: service.watching.watch.clone(),
        })
    }
}

fn every_us(service: &Service) -> Option<u64> {
    let every = service.file.every?;
    Some(u64::try_from(every.as_micros()).unwrap_or(u64::MAX))
}
