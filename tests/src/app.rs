//! The small application behind each backend's nginx: `lab app`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

use crate::behaviour::{self, AppBehaviour};

/// What the health checks of the balancer ask for. It is answered well whatever the application
/// does to pages: shallow health checks are what most sites have.
pub const HEALTH_PATH: &str = "/healthz";

/// What the service file calls its large object.
pub const LARGE_PATH: &str = "/catalogue";

/// Settings of the application.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct App {
    /// The backend's name, given in the header X-Served-By
    #[arg(long)]
    pub name: String,
    /// Addresses to listen on
    #[arg(long, required = true)]
    pub listen: Vec<String>,
    /// File that tells how to behave
    #[arg(long)]
    pub behaviour: PathBuf,
}

/// Serves until it is killed.
pub fn serve(app: App) -> Result<()> {
    let app = Arc::new((app, Pages::new()));
    let mut listeners = Vec::new();
    for address in &app.0.listen {
        let listener = TcpListener::bind(address).with_context(|| format!("bind {address}"))?;
        let app = Arc::clone(&app);
        listeners.push(thread::spawn(move || accept(&listener, &app)));
    }
    for listener in listeners {
        let _ = listener.join();
    }
    Ok(())
}

/// The page: a few kilobytes, the same on every backend.
pub fn page() -> Vec<u8> {
    let mut page = b"<!doctype html><title>shop</title>\n".to_vec();
    for line in 0..96 {
        page.extend_from_slice(format!("<p>article {line:04} is in stock</p>\n").as_bytes());
    }
    page
}

/// What it serves, by path.
struct Pages {
    usual: Vec<u8>,
    large: Vec<u8>,
    /// Whether the one late answer was given.
    was_late: AtomicBool,
}

impl Pages {
    fn new() -> Self {
        let usual = page();
        // Forty kilobytes: more than a connection has under way at first.
        let large = usual.repeat(12);
        Self {
            usual,
            large,
            was_late: AtomicBool::new(false),
        }
    }

    fn of(&self, path: &str) -> &[u8] {
        match path {
            LARGE_PATH => &self.large,
            _ => &self.usual,
        }
    }
}

fn accept(listener: &TcpListener, app: &Arc<(App, Pages)>) {
    for stream in listener.incoming().flatten() {
        let app = Arc::clone(app);
        thread::spawn(move || {
            let (app, pages) = &*app;
            if let Err(error) = answer(&stream, app, pages) {
                eprintln!("{error:#}");
            }
        });
    }
}

fn answer(mut stream: &TcpStream, app: &App, pages: &Pages) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let path = read_request(stream)?;
    let behaviour = behaviour::read(&app.behaviour)?;
    let well = pages.of(&path);
    if path == HEALTH_PATH {
        return send(stream, app, "200 OK", b"well\n", 5);
    }
    match behaviour {
        AppBehaviour::Well => {
            pages.was_late.store(false, Ordering::Relaxed);
            send(stream, app, "200 OK", well, well.len())
        }
        AppBehaviour::LateOnce { ms } => {
            if !pages.was_late.swap(true, Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(ms));
            }
            send(stream, app, "200 OK", well, well.len())
        }
        AppBehaviour::Fail { share } if rand::random::<f64>() < share => {
            let text = b"the data base is not there\n";
            send(stream, app, "500 Internal Server Error", text, text.len())
        }
        AppBehaviour::Fail { .. } => send(stream, app, "200 OK", well, well.len()),
        AppBehaviour::Slow { ms, share } => {
            if rand::random::<f64>() < share {
                thread::sleep(Duration::from_millis(ms));
            }
            send(stream, app, "200 OK", well, well.len())
        }
        AppBehaviour::WrongBody => {
            let other = b"<!doctype html><title>Welcome to nginx!</title>\n".repeat(40);
            send(stream, app, "200 OK", &other, other.len())
        }
        AppBehaviour::TruncateLarge if path != LARGE_PATH => {
            send(stream, app, "200 OK", well, well.len())
        }
        AppBehaviour::Truncate | AppBehaviour::TruncateLarge => {
            send(stream, app, "200 OK", &well[..well.len() / 2], well.len())
        }
        AppBehaviour::Reset => {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            stream.flush()?;
            Ok(())
        }
    }
}

/// Reads up to the empty line and gives the path.
fn read_request(stream: &TcpStream) -> Result<String> {
    // A request head over 16 KiB is nobody's probe.
    let mut reader = BufReader::new(stream.take(16 * 1024));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).context("not a request")?;
    Ok(path.to_owned())
}

fn send(mut to: &TcpStream, app: &App, status: &str, body: &[u8], length: usize) -> Result<()> {
    let name = &app.name;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         X-Served-By: {name}\r\nConnection: close\r\n\r\n"
    );
    to.write_all(head.as_bytes())?;
    to.write_all(body)?;
    to.shutdown(Shutdown::Write)?;
    Ok(())
}

/// Where an application listens for nginx alone.
pub const BEHIND_NGINX: &str = "127.0.0.1:8080";
/// Where an application listens to the network itself.
pub const IN_FRONT: &str = "0.0.0.0:8081";

/// The behaviour file of a backend under the run's folder.
pub fn behaviour_file(folder: &Path, backend: &str) -> PathBuf {
    folder.join(format!("app-{backend}.json"))
}
