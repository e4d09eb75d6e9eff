//! What is said of who lets a few connections at once through, and none beyond.

use alloc::format;
use alloc::string::String;

use super::noun;
use crate::facts::arm::BURST;
use crate::world::part::What;

/// What it does wrong, to how many.
pub(super) fn misdeed(so_many: &str) -> String {
    format!(
        "throttles: it fails {so_many} attempts at the last of {BURST} connections that one client opens at once, and not those at one alone"
    )
}

/// Whom to ask, what for, and what to do meanwhile.
pub(super) fn next_step(what: &What) -> String {
    format!(
        "ask who limits the connections of one client at {}: {}. Have the limit raised, or the client's address excepted (the balancer's above all, which speaks for all users); meanwhile open fewer connections at once, and keep them open for several requests",
        noun(what),
        place(what)
    )
}

/// Where such limits stand.
fn place(what: &What) -> String {
    match what {
        What::Access(vantage) => format!(
            "the router, firewall or NAT that {vantage} is behind, then its provider, by a limit of connections or of new ones a second"
        ),
        What::Balancer(_) => {
            "its own limits for each source (HAProxy: stick tables with `conn_cur` or `conn_rate`; of a provider's balancer its quotas), then the packet filter and the protection from floods in front of it"
                .into()
        }
        What::Backend(name) => format!(
            "the packet filter of {name} (`nft list ruleset`: `limit rate`, `ct count`; `iptables -vnL`: `hashlimit`, `connlimit`), its server's own limits (nginx: `limit_conn`), then whoever hosts it"
        ),
        What::Resolver(_)
        | What::NameServer(_)
        | What::NameServers(_)
        | What::Zone(_)
        | What::Edge(_)
        | What::Provider(_)
        | What::Address(_)
        | What::OriginPath { .. }
        | What::Origin(_)
        | What::Shared(_)
        | What::Toward { .. }
        | What::LbBackendPath { .. }
        | What::Return { .. }
        | What::Barred { .. }
        | What::NotServed(_) => "whoever runs it".into(),
    }
}
