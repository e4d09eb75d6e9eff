//! A constant delay for packets, in user space: `lab delay`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use nfq::{Message, Queue, Verdict};

use crate::clock;

/// The netfilter queue that the backbone's packets go through.
const QUEUE: u16 = 1;
/// Packets that wait at most: a second of 4,000 packets, far above what probes make. The kernel
/// drops what comes on top, as a full router would.
const WAITING: u32 = 4096;

/// Holds back every packet of the queue for `delay`, until it is killed.
pub fn serve(delay: Duration) -> Result<()> {
    let mut queue = Queue::open()?;
    queue.bind(QUEUE)?;
    queue.set_queue_max_len(QUEUE, WAITING)?;
    queue.set_nonblocking(true);
    println!("ready");
    let mut waiting: VecDeque<(Instant, Message)> = VecDeque::new();
    loop {
        while let Ok(message) = queue.recv() {
            waiting.push_back((clock::now() + delay, message));
        }
        let now = clock::now();
        while waiting.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, mut message)) = waiting.pop_front() {
                message.set_verdict(Verdict::Accept);
                queue.verdict(message)?;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
