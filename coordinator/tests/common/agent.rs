//! An agent on a real stream, whose probes see what the test says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::v1::agent_message::Message as FromAgent;
use proto::v1::arm::Target;
use proto::v1::coordinator_message::Message;
use proto::v1::firing::Firing;
use proto::v1::observation::Outcome;
use proto::v1::{
    Arm, Failed, FailureKind, HttpFacts, Layer, NotFired, Observation, OnTime, Passed, Role, Round,
    RoundAnswer, Skipped, Stamp, Step,
};

use super::{Coordinator, Session};

/// What a probe comes to.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Every layer is passed, and HTTP answers 200.
    Passes,
    /// RST in answer to the SYN.
    Refuses,
    /// A whole answer with this status.
    Status(u16),
    /// The agent fires nothing, for this reason.
    Skipped(&'static str),
}

/// What each target answers.
pub type Site = fn(&Target) -> Answer;

/// All is well.
pub fn well(_: &Target) -> Answer {
    Answer::Passes
}

/// Backend web2 is closed.
pub fn web2_closed(target: &Target) -> Answer {
    match target {
        Target::Backend(backend) if backend.name == "web2" => Answer::Refuses,
        _ => Answer::Passes,
    }
}

/// Nobody listens.
pub fn refused(_: &Target) -> Answer {
    Answer::Refuses
}

/// Whatever is asked for is not found.
pub fn not_found(_: &Target) -> Answer {
    Answer::Status(404)
}

/// An agent and its stream.
pub struct Agent {
    pub site: Arc<Mutex<Site>>,
    pub session: Session,
    pub name: String,
    pub sequence: u64,
}

pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

impl Agent {
    /// One of role inside.
    pub async fn connect(coordinator: &Coordinator, name: &str, site: Site) -> Self {
        let secret = coordinator.invite_as(name, Role::Inside, 0).await;
        let credentials = coordinator.join(&secret).await.unwrap().1;
        Self {
            session: coordinator.session(&credentials).await.unwrap(),
            site: Arc::new(Mutex::new(site)),
            name: name.to_owned(),
            sequence: now_us(),
        }
    }

    pub fn saw(&mut self, service: &str, round: u64, scheduled_us: u64, arm: Arm) -> Observation {
        self.sequence += 1;
        let answer = self.site.lock().unwrap()(arm.target.as_ref().unwrap());
        let mut firing = Firing::OnTime(OnTime {});
        let mut http = None;
        let (steps, outcome) = match (answer, arm.target.as_ref().unwrap()) {
            (Answer::Skipped(why), _) => {
                firing = Firing::Skipped(Skipped {
                    why: why.to_owned(),
                });
                (vec![], Outcome::NotFired(NotFired {}))
            }
            (_, Target::Resolver(_) | Target::NameServer(_)) => {
                (vec![step(Layer::Dns)], Outcome::Passed(Passed {}))
            }
            (Answer::Refuses, _) => {
                let refused = FailureKind::FailureConnectRefused;
                (vec![], failed(Layer::Tcp, refused, 0))
            }
            (Answer::Status(status), _) => {
                http = Some(answered(status));
                let refused = failed(Layer::Http, FailureKind::FailureHttpStatus, status);
                (vec![step(Layer::Tcp)], refused)
            }
            (Answer::Passes, _) => {
                http = Some(answered(200));
                let steps = vec![step(Layer::Tcp), step(Layer::Http)];
                (steps, Outcome::Passed(Passed {}))
            }
        };
        Observation {
            vantage: self.name.clone(),
            sequence: self.sequence,
            service: service.to_owned(),
            round,
            arm: Some(arm),
            started: Some(Stamp {
                at_us: scheduled_us + 30,
                uncertainty_us: 20,
            }),
            scheduled_us,
            firing: Some(proto::v1::Firing {
                firing: Some(firing),
            }),
            steps,
            outcome: Some(outcome),
            http,
            ..Observation::default()
        }
    }

    /// Answers every round until the stream ends.
    pub async fn work(mut self) {
        while let Ok(Some(message)) = self.session.next().await {
            let Message::Round(Round {
                service,
                round,
                fire_at_us,
                arms,
            }) = message
            else {
                continue;
            };
            let answer = RoundAnswer {
                round,
                accepted: u32::try_from(arms.len()).unwrap(),
                refused: String::new(),
            };
            self.session.say(FromAgent::RoundAnswer(answer)).await;
            let wait = fire_at_us.saturating_sub(now_us());
            tokio::time::sleep(Duration::from_micros(wait)).await;
            for arm in arms {
                let observation = self.saw(&service, round, fire_at_us, arm);
                self.session.say(FromAgent::Observation(observation)).await;
            }
        }
    }
}

fn step(layer: Layer) -> Step {
    Step {
        layer: layer.into(),
        took_us: 900,
    }
}

fn failed(layer: Layer, failure: FailureKind, code: u16) -> Outcome {
    Outcome::Failed(Failed {
        layer: layer.into(),
        failure: failure.into(),
        code: code.into(),
        after_us: 800,
    })
}

fn answered(status: u16) -> HttpFacts {
    HttpFacts {
        redirect: Default::default(),
        status: status.into(),
        first_byte_us: 900,
        body_bytes: 300,
        body_digest: format!("{status:032}"),
        headers: Vec::new(),
    }
}
