//! One agent: a session that answers every round and keeps its clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use proto::v1::agent_message::Message as Up;
use proto::v1::agent_service_client::AgentServiceClient;
use proto::v1::coordinator_message::Message as Down;
use proto::v1::{AgentMessage, ClockRequest, ClockState, Hello, HostState, Round, RoundAnswer};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::counts::Counts;
use crate::link::{Coordinator, Credentials};
use crate::observation;

/// Messages that wait for the stream: of two rounds. When the coordinator does not keep up, the agent
/// stands still, as one does whose uplink is slow.
const WAITING: usize = 64;
/// As agents ask for the time.
const CLOCK_PACE: Duration = Duration::from_secs(2);

/// An agent that has joined.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub credentials: Credentials,
}

/// What an agent does in its session.
#[derive(Debug)]
pub struct Agent {
    name: String,
    up: mpsc::Sender<AgentMessage>,
    counts: Arc<Counts>,
    failing: f64,
    rng: StdRng,
    /// The last number given to an observation, and the last one acknowledged.
    sequence: u64,
    acknowledged: u64,
    /// The last number of each round that waits for its acknowledgement, and the round's instant.
    waiting: VecDeque<(u64, Instant)>,
}

/// Mesh time: everything is on one host.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

/// Keeps a session until the coordinator ends it, which a run of the load never wants.
pub async fn live(
    coordinator: &Coordinator,
    member: Member,
    counts: Arc<Counts>,
    failing: f64,
) -> Result<()> {
    let from = coordinator.address.ip();
    let channel = coordinator.dial(from, Some(&member.credentials)).await?;
    let (up, messages) = mpsc::channel(WAITING);
    let sequence = now_us();
    let mut agent = Agent {
        name: member.name,
        up,
        counts,
        failing,
        rng: StdRng::from_os_rng(),
        sequence,
        acknowledged: sequence,
        waiting: VecDeque::new(),
    };
    let ended = agent.session(channel, messages).await;
    agent.counts.lost.fetch_add(1, Ordering::Relaxed);
    ended
}

impl Agent {
    async fn session(
        &mut self,
        channel: Channel,
        messages: mpsc::Receiver<AgentMessage>,
    ) -> Result<()> {
        self.say(Up::Hello(Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: Some(HostState {
                addresses: vec!["127.0.0.1".to_owned()],
                ..HostState::default()
            }),
        }))
        .await?;
        let mut client = AgentServiceClient::new(channel);
        let mut down = client
            .session(ReceiverStream::new(messages))
            .await?
            .into_inner();
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        // Not all agents ask at the same instant.
        let first = tokio::time::Instant::now() + CLOCK_PACE.mul_f64(self.rng.random());
        let mut clock = interval_at(first, CLOCK_PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = down.message() => {
                    let message = message?.context("the coordinator has ended the session")?;
                    self.hear(message.message).await?;
                }
                _ = clock.tick() => self.say(Up::Clock(ClockRequest { t1_us: now_us() })).await?,
            }
        }
    }

    async fn hear(&mut self, message: Option<Down>) -> Result<()> {
        match message {
            Some(Down::Round(round)) => self.answer(round).await,
            Some(Down::Ack(ack)) => {
                self.acknowledge(ack.durable_through);
                Ok(())
            }
            Some(Down::Clock(_)) => {
                let state = ClockState {
                    offset_us: 0,
                    uncertainty_us: 90,
                    round_trip_us: 180,
                };
                self.say(Up::ClockState(state)).await
            }
            Some(
                Down::Welcome(_)
                | Down::Service(_)
                | Down::ServiceGone(_)
                | Down::Discover(_)
                | Down::Moved(_)
                | Down::WantedPackets(_)
                | Down::Goodbye(_),
            )
            | None => Ok(()),
        }
    }

    /// Waits for the round's instant, and says what each of its arms saw.
    async fn answer(&mut self, mut round: Round) -> Result<()> {
        let arms = std::mem::take(&mut round.arms);
        let count = u64::try_from(arms.len())?;
        self.counts.asked.fetch_add(count, Ordering::Relaxed);
        let answer = RoundAnswer {
            round: round.round,
            accepted: u32::try_from(count)?,
            refused: String::new(),
        };
        self.say(Up::RoundAnswer(answer)).await?;
        let early_us = round.fire_at_us.saturating_sub(now_us());
        tokio::time::sleep(Duration::from_micros(early_us)).await;
        self.waiting
            .push_back((self.sequence + count, Instant::now()));
        for arm in arms {
            self.sequence += 1;
            let fails = self.rng.random_bool(self.failing);
            let seen =
                observation::of(&self.name, self.sequence, &round, arm, fails, &mut self.rng);
            self.say(Up::Observation(seen)).await?;
            self.counts.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn acknowledge(&mut self, through: u64) {
        let fresh = through.saturating_sub(self.acknowledged);
        self.acknowledged += fresh;
        self.counts.acknowledged.fetch_add(fresh, Ordering::Relaxed);
        while let Some((last, since)) = self.waiting.front().copied() {
            if last > through {
                return;
            }
            self.waiting.pop_front();
            self.counts.waited(since.elapsed());
        }
    }

    async fn say(&self, message: Up) -> Result<()> {
        let message = AgentMessage {
            message: Some(message),
        };
        let sent = self.up.send(message).await;
        sent.context("the session has ended")
    }
}
