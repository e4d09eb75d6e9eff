//! A question that has been sent, and its answer: over UDP, and over TCP when it does not fit.

use std::io;

use hickory_proto::op::Message;
use localize::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::super::tcp;
use super::{Answer, Question};
use crate::failure;

/// Larger datagrams than asked for are cut off here, and then do not parse.
const DATAGRAM: usize = 4096;

impl Question {
    pub(super) async fn ask_again(&self, socket: &UdpSocket, over_tcp: &mut bool) -> Answer {
        let packet = self.query.to_vec().map_err(|_| Failure::DnsMalformed)?;
        socket
            .send(&packet)
            .await
            .map_err(|error| failure::dns(&error))?;
        self.answer(socket, over_tcp).await
    }

    /// The answer to a question that has been sent, taken over TCP when it does not fit.
    pub(super) async fn answer(&self, socket: &UdpSocket, over_tcp: &mut bool) -> Answer {
        let answer = self.receive(socket).await?;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
        *over_tcp = true;
        self.ask_over_tcp().await
    }

    async fn receive(&self, socket: &UdpSocket) -> Answer {
        let mut buffer = [0; DATAGRAM];
        loop {
            let received = socket.recv(&mut buffer).await;
            let length = received.map_err(|error| failure::dns(&error))?;
            // Another id is a late or forged answer; the true one may still come.
            let packet = &buffer[..length];
            if packet.starts_with(&self.query.metadata.id.to_be_bytes()) {
                return self.parse(packet);
            }
        }
    }

    fn parse(&self, packet: &[u8]) -> Answer {
        let answer = Message::from_vec(packet).map_err(|_| Failure::DnsMalformed)?;
        // A server that refuses may leave the question out (RFC 9619 allows none as well as one).
        let same = answer.queries.is_empty() || answer.queries == self.query.queries;
        let is_answer = answer.metadata.message_type == hickory_proto::op::MessageType::Response;
        if same && is_answer {
            Ok(answer)
        } else {
            Err(Failure::DnsMalformed)
        }
    }

    /// RFC 7766: the same question with two bytes of length before it.
    async fn ask_over_tcp(&self) -> Answer {
        let exchange = async {
            let socket = tcp::prepare(self.server, self.source)?;
            match socket.connect(&self.server.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
                _ => {}
            }
            let mut stream = tokio::net::TcpStream::from_std(socket.into())?;
            stream.writable().await?;
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            let packet = self.query.to_vec().map_err(io::Error::other)?;
            let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
            stream
                .write_all(&[&length.to_be_bytes()[..], &packet].concat())
                .await?;
            let length = stream.read_u16().await?;
            let mut answer = vec![0; length.into()];
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answer = exchange.await.map_err(|error| failure::dns(&error))?;
        if answer.starts_with(&self.query.metadata.id.to_be_bytes()) {
            self.parse(&answer)
        } else {
            Err(Failure::DnsMalformed)
        }
    }
}
