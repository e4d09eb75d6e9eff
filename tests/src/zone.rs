//! The service's zone: signed as zones are, in every state that it may be found in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::address::{EDGES, IPV6_EDGE, NAME_SERVERS, REMOVED_EDGE, SERVICE};
use crate::shell;

/// What a name server of the zone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Hands out both edges.
    Well,
    /// Hands out an edge that has been given up, too.
    RemovedEdge,
    /// Has no address at all, and lets that be remembered for an hour.
    Empty,
    /// Hands out an IPv6 address besides.
    Ipv6,
    /// Hands out both edges with signatures that are years old.
    Expired,
    /// Refuses every question.
    Refuses,
}

/// When signatures that have run out did so, as `dnssec-signzone` wants it; `-P`, or it would not
/// write what does not hold.
const RAN_OUT: [&str; 5] = ["-P", "-s", "20240101000000", "-e", "20240301000000"];

impl Zone {
    const SERVED: [Zone; 5] = [
        Zone::Well,
        Zone::RemovedEdge,
        Zone::Empty,
        Zone::Ipv6,
        Zone::Expired,
    ];

    fn file_name(self) -> &'static str {
        match self {
            Zone::Well | Zone::Refuses => "zone-well",
            Zone::RemovedEdge => "zone-removed-edge",
            Zone::Empty => "zone-empty",
            Zone::Ipv6 => "zone-ipv6",
            Zone::Expired => "zone-expired",
        }
    }

    /// The signed file.
    pub fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.signed", self.file_name()))
    }

    fn text(self) -> String {
        let mut addresses: Vec<String> = EDGES.iter().map(|a| format!("@ IN A {a}\n")).collect();
        let mut remembered = 5;
        match self {
            Zone::Well | Zone::Expired | Zone::Refuses => {}
            Zone::RemovedEdge => addresses.push(format!("@ IN A {REMOVED_EDGE}\n")),
            Zone::Ipv6 => addresses.push(format!("@ IN AAAA {IPV6_EDGE}\n")),
            // The lower of the SOA's own time and its last number counts (RFC 2308, section 5).
            Zone::Empty => {
                addresses.clear();
                remembered = 3600;
            }
        }
        let [ns1, ns2] = NAME_SERVERS;
        format!(
            "$TTL 5\n@ {remembered} IN SOA ns1 hostmaster 1 3600 600 86400 {remembered}\n\
             @ IN NS ns1\n@ IN NS ns2\nns1 300 IN A {ns1}\nns2 300 IN A {ns2}\n{}",
            addresses.concat()
        )
    }
}

/// The file with the key that resolvers trust.
pub fn anchor(folder: &Path) -> PathBuf {
    folder.join("zone.anchor")
}

/// Makes a key and signs the zone in each of its states.
pub fn make(folder: &Path) -> Result<()> {
    let place = folder.display().to_string();
    let kind = ["-a", "ECDSAP256SHA256", "-f", "KSK"];
    let made = shell::run(
        "dnssec-keygen",
        kind.into_iter().chain(["-K", &place, SERVICE]),
    )?;
    let key = made.trim().to_owned();
    let public = fs::read_to_string(folder.join(format!("{key}.key")))
        .with_context(|| format!("the key {key}"))?;
    fs::write(anchor(folder), &public)?;
    for zone in Zone::SERVED {
        let plain = folder.join(zone.file_name());
        fs::write(&plain, format!("{}{public}", zone.text()))?;
        let (plain, signed) = (plain.display().to_string(), zone.file(folder));
        let signed = signed.display().to_string();
        let mut words = vec!["-q", "-z", "-o", SERVICE, "-K", &place, "-d", &place];
        words.extend(["-f", &signed]);
        if zone == Zone::Expired {
            words.extend(RAN_OUT);
        }
        words.extend([plain.as_str(), key.as_str()]);
        shell::run("dnssec-signzone", words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_says_what_it_is_for() {
        assert!(Zone::RemovedEdge.text().contains(REMOVED_EDGE));
        assert!(Zone::Ipv6.text().contains(IPV6_EDGE));
        assert!(Zone::Well.text().contains(EDGES[1]));
        let empty = Zone::Empty.text();
        assert!(!empty.contains(EDGES[0]) && empty.contains("86400 3600"));
        assert!(!Zone::Well.text().contains(REMOVED_EDGE));
    }
}
