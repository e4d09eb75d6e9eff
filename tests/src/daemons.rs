//! What runs on the hosts: unbound, BIND, the edges, HAProxy, nginx and the application.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::address::{
    BACKENDS, BALANCER, EDGES, NAME_SERVERS, REMOVED_EDGE, RESOLVERS, SERVICE, VIP,
};
use crate::app::{BEHIND_NGINX, HEALTH_PATH, IN_FRONT, behaviour_file};
use crate::certificates::Certificates;
use crate::daemon::Daemon;
use crate::namespace::Run;
use crate::net::Balancer;
use crate::shell;

/// What a name server of the zone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Hands out both edges.
    Well,
    /// Hands out an edge that has been given up, too.
    RemovedEdge,
    /// Refuses every question.
    Refuses,
}

/// Which certificate the balancer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The good one.
    Good,
    /// The expired one.
    Expired,
}

/// Starts the resolver of a home network (0 or 1) on its router.
pub fn resolver(run: &Run, home: usize) -> Result<Daemon> {
    let host = ["gw1", "gw2"][home];
    let address = RESOLVERS[home];
    let stubs: String = NAME_SERVERS
        .map(|ns| format!("  stub-addr: {ns}\n"))
        .concat();
    let config = format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
         \x20 use-syslog: no\n  do-daemonize: no\n  interface: {address}\n  do-ip6: no\n\
         \x20 access-control: 198.18.0.0/15 allow\n  module-config: \"iterator\"\n\
         \x20 num-threads: 1\n  msg-cache-size: 1m\n  rrset-cache-size: 1m\n\
         stub-zone:\n  name: \"{SERVICE}\"\n{stubs}\
         remote-control:\n  control-enable: no\n",
        folder = run.folder().display(),
    );
    let file = write(run, &format!("unbound-{host}.conf"), &config)?;
    let mut command = run.command(host, "unbound");
    command.args(["-d", "-c"]).arg(file);
    let mut daemon = Daemon::start(&format!("unbound-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-u", address, 53))?;
    Ok(daemon)
}

/// Starts a name server of the zone (0 or 1).
pub fn name_server(run: &Run, number: usize, zone: Zone) -> Result<Daemon> {
    let host = ["ns1", "ns2"][number];
    let address = NAME_SERVERS[number];
    let mut addresses = EDGES.to_vec();
    if zone == Zone::RemovedEdge {
        addresses.push(REMOVED_EDGE);
    }
    let records: String = addresses.iter().map(|a| format!("@ IN A {a}\n")).collect();
    let [ns1, ns2] = NAME_SERVERS;
    let text = format!(
        "$TTL 5\n@ IN SOA ns1 hostmaster 1 3600 600 86400 5\n@ IN NS ns1\n@ IN NS ns2\n\
         ns1 300 IN A {ns1}\nns2 300 IN A {ns2}\n{records}"
    );
    let zone_file = write(run, &format!("zone-{host}"), &text)?;
    let folder = run.folder().join(format!("bind-{host}"));
    fs::create_dir_all(&folder)?;
    let asked_by = if zone == Zone::Refuses { "none" } else { "any" };
    let config = format!(
        "options {{ directory \"{0}\"; managed-keys-directory \"{0}\"; listen-on {{ {address}; }};\n\
         \x20 listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none;\n\
         \x20 dnssec-validation no; allow-query {{ {asked_by}; }}; minimal-responses yes; }};\n\
         controls {{ }};\n\
         zone \"{SERVICE}\" {{ type primary; file \"{1}\"; }};\n",
        folder.display(),
        zone_file.display(),
    );
    let file = write(run, &format!("named-{host}.conf"), &config)?;
    let mut command = run.command(host, "named");
    command.args(["-g", "-n", "1", "-c"]).arg(file);
    let mut daemon = Daemon::start(&format!("named-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-u", address, 53))?;
    Ok(daemon)
}

/// Starts an edge of the CDN (0 or 1).
pub fn edge(run: &Run, number: usize, certificates: &Certificates) -> Result<Daemon> {
    let host = ["edge1", "edge2"][number];
    let address = EDGES[number];
    let mut command = run.command(host, this_program()?);
    command
        .arg("edge")
        .args(["--listen", &format!("{address}:443")])
        .args(["--origin", &format!("{VIP}:443")])
        .arg("--certificate")
        .arg(&certificates.good)
        .arg("--expired")
        .arg(&certificates.expired)
        .arg("--ca")
        .arg(&certificates.ca)
        .arg("--behaviour")
        .arg(edge_behaviour_file(run, number));
    let mut daemon = Daemon::start(host, command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-t", address, 443))?;
    Ok(daemon)
}

/// The behaviour file of an edge.
pub fn edge_behaviour_file(run: &Run, number: usize) -> PathBuf {
    run.folder().join(format!("edge{number}.json"))
}

/// Starts the balancer. Health checks each second, two failures take a backend out, two successes
/// bring it back. Each backend is used from both of the balancer's addresses.
///
/// In TCP mode the backends end TLS and a check is a connection.
pub fn balancer(
    run: &Run,
    certificates: &Certificates,
    shown: Shown,
    mode: Balancer,
) -> Result<Daemon> {
    let (port, word, bind, check) = match mode {
        Balancer::L7 => {
            let bind = format!("ssl crt {}", shown_file(certificates, shown).display());
            let check = format!("option httpchk GET {HEALTH_PATH}\n  http-check expect status 200");
            (80, "http\n  http-reuse never", bind, check)
        }
        Balancer::Tcp | Balancer::L4 => (443, "tcp", String::new(), "option tcp-check".to_owned()),
    };
    let mut servers = String::new();
    for (n, backend) in BACKENDS.iter().enumerate() {
        for (source, letter) in BALANCER.iter().zip(["a", "b"]) {
            let name = server_name(n, letter);
            servers.push_str(&format!(
                "  server {name} {backend}:{port} source {source} check\n"
            ));
        }
    }
    let config = format!(
        "global\n  stats socket {socket} mode 600 level admin\n  nbthread 1\n\
         defaults\n  mode {word}\n  timeout connect 2s\n  timeout client 15s\n  timeout server 10s\n\
         \x20 timeout check 1s\n  timeout http-request 5s\n  retries 1\n\
         frontend shop\n  bind {VIP}:443 {bind}\n  default_backend web\n\
         backend web\n  balance roundrobin\n  {check}\n\
         \x20 default-server inter 1s fall 2 rise 2\n{servers}",
        socket = balancer_socket(run).display(),
    );
    let file = write(run, "haproxy.cfg", &config)?;
    let mut command = run.command("lb", "haproxy");
    command.args(["-db", "-f"]).arg(file);
    let mut daemon = Daemon::start("haproxy", command, &run.folder())?;
    daemon.wait_ready(|| listens(run, "lb", "-t", VIP, 443))?;
    Ok(daemon)
}

fn shown_file(certificates: &Certificates, shown: Shown) -> &Path {
    match shown {
        Shown::Good => &certificates.good,
        Shown::Expired => &certificates.expired,
    }
}

/// Gives the running balancer an order over its admin socket.
pub fn order_balancer(run: &Run, order: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut socket = std::os::unix::net::UnixStream::connect(balancer_socket(run))
        .context("the balancer's admin socket")?;
    writeln!(socket, "{order}")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The balancer's names of its servers: one for each backend and source address.
pub fn balancer_servers() -> Vec<String> {
    let numbers = 0..BACKENDS.len();
    numbers
        .flat_map(|n| ["a", "b"].map(|letter| server_name(n, letter)))
        .collect()
}

fn server_name(backend: usize, letter: &str) -> String {
    format!("web{}{letter}", backend + 1)
}

fn balancer_socket(run: &Run) -> PathBuf {
    run.folder().join("haproxy.sock")
}

/// Starts nginx on a backend (0 to 2).
pub fn web(run: &Run, number: usize, certificates: &Certificates) -> Result<Daemon> {
    let host = crate::address::BACKEND_NAMES[number];
    let folder = run.folder().join(format!("nginx-{host}"));
    fs::create_dir_all(&folder)?;
    let config = format!(
        "daemon off; worker_processes 1; user root; pid nginx.pid; error_log stderr warn;\n\
         events {{ worker_connections 2048; }}\n\
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
         \x20 fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         \x20 server {{ listen 80; listen 443 ssl;\n\
         \x20 ssl_certificate {good}; ssl_certificate_key {good}; location / {{\n\
         \x20   proxy_pass http://{BEHIND_NGINX}; proxy_read_timeout 15s; }} }} }}\n",
        good = certificates.good.display(),
    );
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = run.command(host, "nginx");
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(&folder)
        .args(["-c", "nginx.conf"]);
    let mut daemon = Daemon::start(&format!("nginx-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-t", "0.0.0.0", 80))?;
    Ok(daemon)
}

/// Starts the application of a backend (0 to 2).
pub fn application(run: &Run, number: usize) -> Result<Daemon> {
    let host = crate::address::BACKEND_NAMES[number];
    let mut command = run.command(host, this_program()?);
    command
        .args([
            "app",
            "--name",
            host,
            "--listen",
            BEHIND_NGINX,
            "--listen",
            IN_FRONT,
        ])
        .arg("--behaviour")
        .arg(behaviour_file(&run.folder(), host));
    let mut daemon = Daemon::start(&format!("app-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-t", "127.0.0.1", 8080))?;
    Ok(daemon)
}

/// Whether something listens on an address of a host.
pub fn listens(run: &Run, host: &str, family: &str, address: &str, port: u16) -> bool {
    let namespace = run.namespace(host);
    let words = ["netns", "exec", &namespace, "ss", "-H", "-l", "-n", family];
    shell::run("ip", words).is_ok_and(|table| table.contains(&format!("{address}:{port} ")))
}

/// The daemons' programs that are not installed.
pub fn missing_programs() -> Vec<&'static str> {
    let programs = [
        "ip",
        "nft",
        "iptables-legacy",
        "setpriv",
        "ss",
        "unbound",
        "named",
        "haproxy",
        "nginx",
        "tcpdump",
        "dig",
        "curl",
    ];
    let there = |program: &str| {
        let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        folders
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    };
    programs
        .into_iter()
        .filter(|program| !there(program))
        .collect()
}

fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("this program's own path")?;
    if !path.is_file() {
        bail!("{} was replaced while it ran", path.display());
    }
    Ok(path)
}

fn write(run: &Run, name: &str, text: &str) -> Result<PathBuf> {
    let file = run.folder().join(name);
    fs::write(&file, text).with_context(|| format!("{}", file.display()))?;
    Ok(file)
}

/// A `Command` that runs one of the lab's own look-ups on a host and gives its output.
pub fn on_host(run: &Run, host: &str, line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let mut command: Command = run.command(host, program);
    command.args(words);
    shell::output_of(&mut command)
}

/// Starts the backbone's delay line: each forwarded packet waits in user space, since the kernel's
/// own `netem` is not everywhere.
pub fn delay_line(run: &Run, ms: u64) -> Result<Daemon> {
    let mut command = run.command("net", this_program()?);
    command.args(["delay", "--ms", &ms.to_string()]);
    let mut daemon = Daemon::start("delay", command, &run.folder())?;
    let ready = run.folder().join("delay.log");
    daemon.wait_ready(|| fs::read_to_string(&ready).is_ok_and(|log| log.contains("ready")))?;
    let namespace = run.namespace("net");
    let rule = "-t mangle -A FORWARD -j NFQUEUE --queue-num 1 --queue-bypass";
    let mut words = vec!["netns", "exec", &namespace, "iptables-legacy"];
    words.extend(rule.split_whitespace());
    shell::run("ip", words)?;
    Ok(daemon)
}
