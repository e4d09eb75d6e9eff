//! A listener whose accept queue is full: `lab full`.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// The settings of `lab full`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Full {
    /// Addresses to listen on
    #[arg(long, required = true)]
    pub listen: Vec<SocketAddr>,
}

/// The queue takes one connection more than this (listen(2), `sk_acceptq_is_full` of the kernel).
const BACKLOG: i32 = 1;
/// A connection that the queue has no room for does not come about at all.
const LIMIT: Duration = Duration::from_millis(200);

/// Listens, fills the queues and never accepts, until it is killed.
pub fn serve(full: &Full) -> Result<()> {
    let mut held = Vec::new();
    for address in &full.listen {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket
            .bind(&(*address).into())
            .with_context(|| format!("bind {address}"))?;
        socket.listen(BACKLOG)?;
        held.push(socket);
    }
    let mut filling = Vec::new();
    for address in &full.listen {
        let own = SocketAddr::from(([127, 0, 0, 1], address.port()));
        while let Ok(stream) = TcpStream::connect_timeout(&own, LIMIT) {
            filling.push(stream);
        }
    }
    loop {
        std::thread::park();
    }
}
