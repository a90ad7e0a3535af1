//! Reads how a namespace routes: its routes, policy rules and addresses by netlink, and its settings below `/proc/sys/net`, which
//! show the namespace of the thread that opens them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::connections::{Refusal, list, open};
use crate::model::{Cause, Routing, RoutingSettings, Snapshot, Subject, exact_text};
use crate::sys::netlink::{self, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::{routes, rtnetlink};

/// What it means when one of the lists is missing or cut short.
const MEANS: &str = "where the namespace sends packets is not known";

type Channel = Result<NetlinkSocket, Refusal>;
type Read = (RoutingSettings, Option<io::Error>);

/// Fills in how `netns` routes, and what of that could not be read.
pub fn read_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    let folder = proc_root.join("sys/net");
    let inside = netns.enter(|| (open(netlink::ROUTE), settings(&folder)));
    let (mut channel, (settings, error)): (Channel, Read) = match inside {
        Ok(inside) => inside,
        Err(error) => (Err(Refusal::from_io(&error)), (RoutingSettings::default(), None)),
    };
    let mut routing = Routing { settings, ..Routing::default() };
    let mut note = |source: &str, refusal: Option<Refusal>| {
        snapshot.unread.extend(refusal.map(|refusal| refusal.about(Subject::Routes, source, MEANS)));
    };
    note("settings of routing", error.map(|error| Refusal::from_io(&error)));
    let (routes, refusal) = both(&mut channel, (routes::GET_ROUTE, routes::NEW_ROUTE), routes::decode_route);
    routing.routes = refusal.is_none().then_some(routes);
    note("routes", refusal);
    let (rules, refusal) = both(&mut channel, (routes::GET_RULE, routes::NEW_RULE), routes::decode_rule);
    routing.rules = refusal.is_none().then_some(rules);
    note("policy rules", refusal);
    let request = rtnetlink::address_request();
    let question = (rtnetlink::GET_ADDRESS, request.as_slice(), rtnetlink::NEW_ADDRESS);
    let (addresses, refusal) = list(&mut channel, question, routes::decode_own);
    routing.addresses = refusal.is_none().then_some(addresses);
    note("addresses for routing", refusal);
    snapshot.routes = Some(routing);
}

/// A list of both families. A kernel without IPv6 has none of that one.
fn both<T, E: Display>(
    channel: &mut Channel,
    (kind, answers): (u16, u16),
    decode: impl Fn(&[u8], bool) -> Result<Option<T>, E>,
) -> (Vec<T>, Option<Refusal>) {
    let mut of = |ipv6| list(channel, (kind, &*routes::request(ipv6), answers), |payload| decode(payload, ipv6));
    let (ipv4, refusal) = of(false);
    let (ipv6, other) = of(true);
    let other = other.filter(|refusal| refusal.cause != Cause::Unsupported);
    (ipv4.into_iter().chain(ipv6).flatten().collect(), refusal.or(other))
}

/// The settings of all devices, and the first error. A kernel without IPv6, or an older one, lacks some.
fn settings(folder: &Path) -> (RoutingSettings, Option<io::Error>) {
    let mut first = None;
    let mut of = |family: &str, names: &[&str]| {
        let folder = folder.join(family).join("conf");
        devices(&folder, names, &mut first).unwrap_or_else(|error| {
            if family == "ipv4" || error.kind() != ErrorKind::NotFound {
                first.get_or_insert(error);
            }
            BTreeMap::new()
        })
    };
    let ipv4 = of("ipv4", &RoutingSettings::IPV4);
    (RoutingSettings { ipv4, ipv6: of("ipv6", &RoutingSettings::IPV6) }, first)
}

/// By device and name.
fn devices(
    folder: &Path,
    names: &[&str],
    first: &mut Option<io::Error>,
) -> io::Result<BTreeMap<String, BTreeMap<String, i32>>> {
    let mut found = BTreeMap::new();
    for device in fs::read_dir(folder)? {
        let device = device?;
        let mut values = BTreeMap::new();
        for name in names {
            match fs::read_to_string(device.path().join(name)) {
                Ok(text) => values.extend(text.trim().parse().ok().map(|value| ((*name).to_owned(), value))),
                // The device went away, or the kernel does not know the setting.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        found.insert(exact_text(device.file_name().as_bytes()).into_owned(), values);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_said_and_a_missing_setting_is_not() {
        let place = tempfile::tempdir().expect("a folder");
        let (_, error) = settings(place.path());
        assert!(error.is_some_and(|error| error.kind() == ErrorKind::NotFound));
        let device = place.path().join("ipv4/conf/eth0.5");
        fs::create_dir_all(&device).expect("made");
        fs::write(device.join("rp_filter"), "2\n").expect("written");
        fs::write(device.join("forwarding"), "what\n").expect("written");
        let (settings, error) = settings(place.path());
        assert!(error.is_none());
        assert_eq!(settings.ipv4("eth0.5", "rp_filter"), Some(2));
        assert_eq!((settings.ipv4("eth0.5", "forwarding"), settings.ipv6("all", "forwarding")), (None, None));
    }
}
