//! At which ports a site's public addresses are asked.

/// The port at which resolvers and name servers are asked (RFC 1035 section 4.2).
pub(super) const DNS_PORT: u16 = 53;

/// Where users ask sites (RFC 9110 sections 4.2.1 and 4.2.2).
const WEB_PORTS: [u16; 2] = [80, 443];

/// System ports, which are other services' (RFC 6335 section 6), are below this.
const FIRST_USER_PORT: u16 = 1024;

/// User ports that no browser connects to though an URL names them, since other protocols live there: the
/// bad ports of the Fetch standard (WHATWG, section "Port blocking").
const BAD_PORTS: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// Whether a user's browser would connect there for a URL with the port `declared`.
pub(super) fn is_a_sites(port: u16, declared: u16) -> bool {
    let is_for_sites = port >= FIRST_USER_PORT && !BAD_PORTS.contains(&port);
    WEB_PORTS.contains(&port) || (port == declared && is_for_sites)
}
