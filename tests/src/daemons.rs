//! What runs on the hosts: unbound, BIND, the edges, nginx and the application.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::address::{EDGES, NAME_SERVERS, NOBODY, RESOLVERS, SERVICE, VIP, WILDCARD};
use crate::app::{BEHIND_NGINX, IN_FRONT, behaviour_file};
use crate::astray;
use crate::certificates::Certificates;
use crate::daemon::Daemon;
use crate::namespace::Run;
use crate::pausing::Pauses;
use crate::shell;
use crate::zone::{self, Zone};

/// Starts the resolver of a home network (0 or 1) on its router. It checks signatures, as most do that
/// homes use.
pub fn resolver(run: &Run, home: usize) -> Result<Daemon> {
    let host = ["gw1", "gw2"][home];
    let address = RESOLVERS[home];
    let stubs: String = NAME_SERVERS
        .map(|ns| format!("  stub-addr: {ns}\n"))
        .concat();
    // Whoever runs home 1's network has a domain of its own, with an address for every name below it.
    let own = match home {
        0 => format!(
            "  local-zone: \"{WILDCARD}.\" redirect\n  local-data: \"{WILDCARD}. 5 IN A {NOBODY}\"\n\
             \x20 domain-insecure: \"{WILDCARD}.\"\n"
        ),
        _ => String::new(),
    };
    let config = format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
         \x20 use-syslog: no\n  do-daemonize: no\n  interface: {address}\n  do-ip6: no\n\
         \x20 access-control: 198.18.0.0/15 allow\n  module-config: \"validator iterator\"\n\
         \x20 trust-anchor-file: \"{anchor}\"\n  val-bogus-ttl: 5\n  ede: yes\n  infra-host-ttl: 5\n\
         \x20 num-threads: 1\n  msg-cache-size: 1m\n  rrset-cache-size: 1m\n{own}\
         stub-zone:\n  name: \"{SERVICE}\"\n{stubs}\
         remote-control:\n  control-enable: no\n",
        folder = run.folder().display(),
        anchor = zone::anchor(&run.folder()).display(),
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
        zone.file(&run.folder()).display(),
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
        .arg(&certificates.edges)
        .arg("--lone")
        .arg(&certificates.lone)
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
         \x20 gzip on; gzip_vary on; gzip_proxied any; gzip_min_length 256;\n\
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

/// Starts a listener with a full accept queue in the place of a backend's nginx (0 to 2).
pub fn full(run: &Run, number: usize) -> Result<Daemon> {
    let host = crate::address::BACKEND_NAMES[number];
    let mut command = run.command(host, this_program()?);
    command.args(["full", "--listen", "0.0.0.0:80", "--listen", "0.0.0.0:443"]);
    let mut daemon = Daemon::start(&format!("full-{host}"), command, &run.folder())?;
    daemon.wait_ready(|| listens(run, host, "-t", "0.0.0.0", 443))?;
    Ok(daemon)
}

/// Starts stopping a process on a host now and then.
pub fn pauses(run: &Run, host: &str, process: &Daemon) -> Result<Pauses> {
    let pid = i32::try_from(process.pid()).context("a process number")?;
    let mut command = run.command(host, this_program()?);
    command.args(["pause", "--pid", &pid.to_string()]);
    let daemon = Daemon::start(&format!("pause-{host}"), command, &run.folder())?;
    Ok(Pauses::of(daemon, pid))
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
        "dnssec-keygen",
        "dnssec-signzone",
        "haproxy",
        "nginx",
        "tcpdump",
        "dig",
        "curl",
        "openssl",
    ];
    let there = |program: &str| {
        let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        folders
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    };
    let library = astray::library().is_none().then_some("libfaketime");
    programs
        .into_iter()
        .filter(|program| !there(program))
        .chain(library)
        .collect()
}

fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("this program's own path")?;
    if !path.is_file() {
        bail!("{} was replaced while it ran", path.display());
    }
    Ok(path)
}

/// Writes a file of the run's own folder.
pub fn write(run: &Run, name: &str, text: &str) -> Result<PathBuf> {
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
