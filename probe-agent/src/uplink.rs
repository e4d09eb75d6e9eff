//! What the agent says on the session's stream, in two lanes.
//!
//! After an outage the spool has much to say; a clock request or the answer to a round must not stand
//! behind it. The urgent lane goes first, and a clock request is stamped when it is taken for the
//! stream, so that waiting here does not count as time on the wire.

use std::sync::Arc;

use futures::Stream;
use futures::stream;
use proto::v1::agent_message::Message;
use proto::v1::{AgentMessage, ClockRequest};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::clock::Clock;

/// The writing end of a session's stream. The stream ends when every clone is gone.
#[derive(Clone, Debug)]
pub struct Uplink {
    urgent: Sender<Urgent>,
    records: Sender<AgentMessage>,
}

/// The stream takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UplinkError {
    /// The session has ended.
    #[error("the stream to the coordinator has ended")]
    Closed,
    /// The coordinator does not read.
    #[error("the coordinator does not take what the agent says")]
    Behind,
}

#[derive(Debug)]
enum Urgent {
    Message(Box<Message>),
    AskTime,
}

/// Two minutes of a busy agent's answers and clock requests: a coordinator that is further behind is
/// better met on a new stream.
const URGENT: usize = 256;
/// Records that have left the spool and not yet the process; few, since each of them delays what is
/// urgent once the transport has taken it.
const RECORDS: usize = 32;

impl Uplink {
    /// Both ends. The clock stamps the clock requests.
    pub fn open(clock: Arc<Clock>) -> (Self, impl Stream<Item = AgentMessage> + Send + 'static) {
        let (urgent, urgent_lane) = mpsc::channel(URGENT);
        let (records, records_lane) = mpsc::channel(RECORDS);
        let lanes = Lanes {
            urgent: urgent_lane,
            records: records_lane,
            clock,
        };
        let stream = stream::unfold(lanes, |mut lanes| async {
            let message = lanes.next().await?;
            Some((message, lanes))
        });
        (Self { urgent, records }, stream)
    }

    /// Says something that goes before all records. Never waits.
    ///
    /// # Errors
    /// When the session has ended or is not read.
    pub fn say(&self, message: Message) -> Result<(), UplinkError> {
        self.urge(Urgent::Message(Box::new(message)))
    }

    /// Asks for the coordinator's time.
    ///
    /// # Errors
    /// When the session has ended or is not read.
    pub fn ask_time(&self) -> Result<(), UplinkError> {
        self.urge(Urgent::AskTime)
    }

    /// Sends a record of the spool, as soon as there is room.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn bring(&self, record: AgentMessage) -> Result<(), UplinkError> {
        let brought = self.records.send(record).await;
        brought.map_err(|_| UplinkError::Closed)
    }

    fn urge(&self, urgent: Urgent) -> Result<(), UplinkError> {
        self.urgent.try_send(urgent).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => UplinkError::Behind,
            mpsc::error::TrySendError::Closed(_) => UplinkError::Closed,
        })
    }
}

struct Lanes {
    urgent: Receiver<Urgent>,
    records: Receiver<AgentMessage>,
    clock: Arc<Clock>,
}

impl Lanes {
    async fn next(&mut self) -> Option<AgentMessage> {
        let message = tokio::select! {
            biased;
            Some(urgent) = self.urgent.recv() => match urgent {
                Urgent::Message(message) => *message,
                Urgent::AskTime => Message::Clock(ClockRequest {
                    t1_us: self.clock.now().0,
                }),
            },
            Some(record) = self.records.recv() => return Some(record),
            else => return None,
        };
        Some(AgentMessage {
            message: Some(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use proto::v1::{Discovery, RoundAnswer};

    #[tokio::test]
    async fn what_is_urgent_overtakes_records_and_is_stamped_when_it_leaves() {
        let clock = Arc::new(Clock::start());
        let (uplink, stream) = Uplink::open(Arc::clone(&clock));
        let mut stream = std::pin::pin!(stream);
        let record = AgentMessage {
            message: Some(Message::Discovery(Discovery::default())),
        };
        uplink.bring(record.clone()).await.unwrap();
        uplink
            .say(Message::RoundAnswer(RoundAnswer::default()))
            .unwrap();
        uplink.ask_time().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let taken = clock.now();
        let answer = stream.next().await.unwrap().message;
        assert!(
            matches!(answer, Some(Message::RoundAnswer(_))),
            "{answer:?}"
        );
        let Some(Message::Clock(request)) = stream.next().await.unwrap().message else {
            panic!("the clock request comes before the record");
        };
        assert!(request.t1_us >= taken.0);
        assert_eq!(stream.next().await, Some(record));
        drop(uplink);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn a_stream_that_is_not_read_or_has_ended_is_told() {
        let (uplink, stream) = Uplink::open(Arc::new(Clock::start()));
        for _ in 0..URGENT {
            uplink.ask_time().unwrap();
        }
        assert_eq!(uplink.ask_time(), Err(UplinkError::Behind));
        drop(stream);
        assert_eq!(uplink.ask_time(), Err(UplinkError::Closed));
    }
}
