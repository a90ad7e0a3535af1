//! A piece of TPROXY is missing.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Network, RouteKind, RuleAction, Socket, SocketState};

pub(super) const KIND: Kind = Kind {
    id: "RDR012",
    title: "TPROXY capture incomplete",
    severity: Severity::Error,
    page: Page {
        seen: "Inbound connections time out rather than being refused; the proxy cannot reach its control plane; calls \
              to the pod's own service hang.",
        why: "TPROXY needs more than its rule: a policy rule for the mark, a table with a local route, a socket that \
              is transparent, and settings that do not take marked packets for strays.",
        evidence: "Each rule that gives packets to a transparent socket, and what of this is missing: a policy rule for its \
              mark and a local route in that table, a listener that is transparent, rp_filter that is not strict.",
        remedy: "Run the set-up again with the right it lacks, or use REDIRECT; set src_valid_mark to 0 or rp_filter to \
              2.",
        references: &[
            "istio/istio#31424",
            "istio/istio#37701",
            "istio/istio#21812",
            "istio/istio#22500",
            "envoyproxy/envoy#15402",
        ],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for ipv6 in case.families() {
        let Some(tproxy) = case.transparent(ipv6) else { continue };
        let mut missing = Vec::new();
        match way(case, ipv6, tproxy.mark) {
            Some(Way::Whole) => {}
            Some(Way::NoRule) => missing.push(format!(
                "no policy rule looks for mark {:#x} (ip rule add fwmark {:#x} lookup 133)",
                tproxy.mark, tproxy.mark
            )),
            Some(Way::NoRoute(table)) => missing.push(format!(
                "table {table} has no local default route (ip route add local default dev lo table {table})"
            )),
            None => found.cannot_tell(&KIND, "routes and policy rules were not read"),
        }
        let listeners: Vec<&Socket> = case
            .snapshot
            .sockets
            .iter()
            .flatten()
            .filter(|socket| socket.state == SocketState::Listen && socket.local.port == tproxy.port)
            .collect();
        if !listeners.is_empty() && listeners.iter().all(|socket| socket.details.transparent == Some(false)) {
            missing.push(format!(
                "the listener on port {} is not transparent (IP_TRANSPARENT, which needs NET_ADMIN)",
                tproxy.port
            ));
        }
        if !ipv6 && strict(case) {
            missing.push("rp_filter is 1 and src_valid_mark is 1: marked packets are taken for strays".to_owned());
        }
        if missing.is_empty() {
            continue;
        }
        let finding = KIND.found(
            format!(
                "{} is not enough by itself: {} missing",
                tproxy.rule,
                if missing.len() == 1 { "a piece is" } else { "pieces are" }
            ),
            "make what is missing, or run the mesh's set-up again with the right that it lacks",
        );
        found.finding(missing.into_iter().fold(finding, super::Finding::because).about(Some(tproxy.rule)));
    }
}

/// What becomes of marked packets.
enum Way {
    Whole,
    NoRule,
    NoRoute(u32),
}

/// Whether marked packets are taken in; `None` where routes were not read.
fn way(case: &Case<'_>, ipv6: bool, mark: u32) -> Option<Way> {
    let routing = case.snapshot.routes.as_ref()?;
    let (rules, routes) = (routing.rules.as_ref()?, routing.routes.as_ref()?);
    let marked = rules
        .iter()
        .filter(|rule| rule.ipv6 == ipv6)
        .filter(|rule| rule.mark.is_some_and(|(value, mask)| mark & mask == value));
    let tables: Vec<u32> = marked
        .filter_map(|rule| if let RuleAction::Lookup(table) = rule.action { Some(table) } else { None })
        .collect();
    let takes_in = |table: &u32| {
        routes.iter().any(|route| {
            route.table == *table && route.kind == RouteKind::Local && route.destination == Network::all(ipv6)
        })
    };
    Some(match tables.first() {
        None => Way::NoRule,
        Some(_) if tables.iter().any(takes_in) => Way::Whole,
        Some(first) => Way::NoRoute(*first),
    })
}

/// Whether packets with the mark are looked up by it when their source is checked, and strictly (K12).
fn strict(case: &Case<'_>) -> bool {
    let Some(routing) = &case.snapshot.routes else { return false };
    let of = |device: &str, name: &str| routing.settings.ipv4(device, name).unwrap_or_default();
    let devices = case.snapshot.interfaces.iter().flatten().filter(|interface| !interface.loopback && interface.up);
    devices.into_iter().any(|device| {
        of("all", "rp_filter").max(of(&device.name, "rp_filter")) == 1
            && (of("all", "src_valid_mark") == 1 || of(&device.name, "src_valid_mark") == 1)
    })
}
