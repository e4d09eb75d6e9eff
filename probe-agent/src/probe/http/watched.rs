//! A connection that keeps a trace of what passes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use localize::{HttpVersion, Micros};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Closes;
use crate::clock::{Clock, Local};
use crate::failure::{self, Break};

/// Bytes of a frame's header (RFC 9113, section 4.1).
const FRAME_HEADER: usize = 9;

/// What was seen of the connection during the exchange.
#[derive(Debug)]
pub(super) struct Trace {
    /// What is written belongs to the request. HTTP/2 has settings to write before.
    pub(super) asked: bool,
    wrote: bool,
    /// When the whole request had been handed to the kernel.
    pub(super) written: Option<Local>,
    /// When the first byte of the answer was read. In HTTP/2 frames of the connection come before it, so
    /// that whoever reads the answer says when it begins.
    pub(super) first_byte: Option<Local>,
    first_byte_answers: bool,
    /// The first bytes that the server sent.
    opening: Vec<u8>,
    pub(super) ended: bool,
    pub(super) error: Option<Break>,
}

impl Trace {
    pub(super) fn of(version: HttpVersion) -> Self {
        let one = version == HttpVersion::One;
        Self {
            asked: one,
            wrote: false,
            written: None,
            first_byte: None,
            first_byte_answers: one,
            opening: Vec::new(),
            ended: false,
            error: None,
        }
    }

    /// From the request's last byte to the answer's first one.
    pub(super) fn until_first_byte(&self) -> Option<Micros> {
        Some(self.first_byte?.since(self.written?))
    }

    /// Whether the server has not said anything.
    pub(super) fn is_mute(&self) -> bool {
        self.opening.is_empty()
    }

    /// Whether the server began as HTTP/2 has it: with its settings, or with its leave (RFC 9113,
    /// sections 3.4, 6.5 and 6.8).
    pub(super) fn opens_with_frame(&self) -> bool {
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        let &[high, middle, low, kind, flags, 0, 0, 0, 0] = self.opening.as_slice() else {
            return false;
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            SETTINGS => flags == 0 && length.is_multiple_of(6) && length < 1 << 14,
            GOAWAY => flags == 0 && (8..1 << 14).contains(&length),
            _ => false,
        }
    }

    /// Whether the server began as HTTP/1 has it.
    pub(super) fn opens_with_status_line(&self) -> bool {
        self.opening.starts_with(b"HTTP/1.")
    }

    fn read(&mut self, bytes: &[u8], clock: &Clock) {
        let room = FRAME_HEADER - self.opening.len();
        let opening = &bytes[..bytes.len().min(room)];
        self.opening.extend_from_slice(opening);
        if self.first_byte_answers {
            self.first_byte.get_or_insert_with(|| clock.now());
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let broke = match failure::rustls_error(error) {
            None => Break::Reset,
            Some(rustls::Error::AlertReceived(alert)) => {
                Break::Alert(failure::alert_number(*alert))
            }
            Some(_) => Break::Tls,
        };
        self.error.get_or_insert(broke);
    }
}

/// A panic while the trace was held leaves facts that are still true.
pub(super) fn lock(trace: &Mutex<Trace>) -> MutexGuard<'_, Trace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that keeps a trace of what passes.
pub(super) struct Watched<'a, S> {
    pub(super) stream: S,
    pub(super) clock: &'a Clock,
    pub(super) trace: Arc<Mutex<Trace>>,
    pub(super) closes: Closes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let mut trace = lock(&self.trace);
        match outcome {
            Ok(()) if buf.filled().len() > before => {
                trace.read(&buf.filled()[before..], self.clock);
                Poll::Ready(Ok(()))
            }
            Ok(()) => {
                trace.ended = true;
                Poll::Ready(Ok(()))
            }
            // FIN without close_notify. Browsers take it for an end, and the length that the header
            // declares still shows a body that was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                trace.ended = true;
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                trace.failed(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        let mut trace = lock(&self.trace);
        match &outcome {
            Ok(_) => trace.wrote |= trace.asked,
            Err(error) => trace.failed(error),
        }
        Poll::Ready(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The library flushes once its own buffer is empty, so that the request is then written.
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx));
        let mut trace = lock(&self.trace);
        match &outcome {
            Ok(()) if trace.wrote => {
                trace.written.get_or_insert_with(|| self.clock.now());
            }
            Ok(()) => {}
            Err(error) => trace.failed(error),
        }
        Poll::Ready(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.closes {
            Closes::Either => Pin::new(&mut self.stream).poll_shutdown(cx),
            Closes::Server => Poll::Ready(Ok(())),
        }
    }
}
