//! The cache of an edge: nginx, which keeps packed answers under a key of their own. A purge has missed
//! those: what it holds is a page of old.

use std::fs;

use anyhow::{Context, Result};

use crate::address::{SERVICE, VIP};
use crate::daemon::Daemon;
use crate::daemons::{listens, on_host};
use crate::namespace::Run;

/// Where an edge finds its cache.
pub const CACHE: &str = "127.0.0.1:8099";
/// Where the page of old came from.
const FORMER: &str = "127.0.0.1:8098";

/// Whom the cache asks for what it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A server that says what the site said once.
    Former,
    /// The balancer.
    Balancer,
}

/// Starts the cache of an edge (0 or 1) with an old page for whoever accepts gzip.
pub fn stale(run: &Run, number: usize) -> Result<Daemon> {
    let host = ["edge1", "edge2"][number];
    let former = start(run, host, Origin::Former)?;
    let ask = format!(
        "curl -sS -f -o /dev/null -H Host:{SERVICE} -H Accept-Encoding:gzip http://{CACHE}/"
    );
    on_host(run, host, &ask).context("filling the cache")?;
    former.stop();
    start(run, host, Origin::Balancer)
}

fn start(run: &Run, host: &str, origin: Origin) -> Result<Daemon> {
    let folder = run.folder().join(format!("cache-{host}"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("nginx.conf"), config(origin))?;
    let mut command = run.command(host, "nginx");
    command.args(["-e", "stderr", "-p"]).arg(&folder);
    command.args(["-c", "nginx.conf"]);
    let mut daemon = Daemon::start(&format!("cache-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-t", "127.0.0.1", 8099))?;
    Ok(daemon)
}

/// Only packed answers are kept, so that all others come from the origin as without a cache.
fn config(origin: Origin) -> String {
    let origin = match origin {
        Origin::Former => format!("proxy_pass http://{FORMER};"),
        Origin::Balancer => {
            format!("proxy_pass https://{VIP}; proxy_ssl_server_name on; proxy_ssl_name {SERVICE};")
        }
    };
    format!(
        "daemon off; worker_processes 1; user root; pid nginx.pid; error_log stderr warn;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
         \x20 fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         \x20 map $http_accept_encoding $plain {{ default 1; ~gzip 0; }}\n\
         \x20 proxy_cache_path kept keys_zone=kept:1m inactive=1d;\n\
         \x20 server {{ listen {CACHE}; location / {{ {origin}\n\
         \x20   proxy_set_header Host $host; proxy_http_version 1.1;\n\
         \x20   proxy_cache kept; proxy_cache_key \"$request_uri $http_accept_encoding\";\n\
         \x20   proxy_cache_valid 200 1d; proxy_cache_bypass $plain; proxy_no_cache $plain; }} }}\n\
         \x20 server {{ listen {FORMER}; default_type text/html; gzip on; gzip_vary on;\n\
         \x20   gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0;\n\
         \x20   location / {{ return 200 '<!doctype html><title>shop</title><p>closed for the holidays</p>'; }} }} }}\n"
    )
}
