//! The rules that a mesh's init container leaves in a pod (Istio 1.22's defaults), as data.
//!
//! The form of each rule in bytes is `encoding`'s business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Variant;

/// UID and GID of the proxy.
pub(super) const PROXY_ID: u32 = 1337;
/// Where outbound connections are redirected.
pub(super) const OUTBOUND_PORT: u16 = 15001;
/// Where inbound connections are redirected.
pub(super) const INBOUND_PORT: u16 = 15006;
/// The proxy's health port, left alone by the inbound rules.
pub(super) const HEALTH_PORT: u16 = 15021;
/// The port of proxy-to-proxy tunnels, left alone too.
const TUNNEL_PORT: u16 = 15008;
/// The proxy's other ports that are left alone, in the order in which Istio writes them.
const OWN_PORTS: [u16; 4] = [TUNNEL_PORT, 15090, HEALTH_PORT, 15020];

/// The four chains at netfilter's hooks: name, hook number, priority.
pub(super) const BASE_CHAINS: [(&str, u32, i32); 4] =
    [("PREROUTING", 0, -100), ("INPUT", 1, 100), ("OUTPUT", 3, -100), ("POSTROUTING", 4, 100)];
/// The chains of the mesh, in the order in which they are made.
pub(super) const OWN_CHAINS: [&str; 4] = ["ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT"];

/// Whose packets a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// `--uid-owner`.
    User(u32),
    /// `--gid-owner`.
    Group(u32),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// `-j CHAIN`.
    Jump(&'static str),
    /// `-j RETURN`.
    Return,
    /// `-j REDIRECT --to-ports`.
    Redirect(u16),
}

/// A condition, and whether it is turned round (`!`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test<T> {
    /// What is compared with.
    pub(super) value: T,
    /// `!`.
    pub(super) inverted: bool,
}

/// One rule, as one would type it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// `-A`.
    pub(super) chain: &'static str,
    /// `-o lo`.
    pub(super) to_loopback: bool,
    /// `-p tcp`.
    pub(super) tcp: bool,
    /// `-s`.
    pub(super) source: Option<IpAddr>,
    /// `-d`.
    pub(super) destination: Option<Test<IpAddr>>,
    /// `-m tcp --dport`.
    pub(super) port: Option<Test<u16>>,
    /// `-m owner`.
    pub(super) owner: Option<Test<Owner>>,
    /// `-j`.
    pub(super) action: Action,
}

impl Rule {
    fn new(chain: &'static str, action: Action) -> Self {
        Self { chain, to_loopback: false, tcp: false, source: None, destination: None, port: None, owner: None, action }
    }

    fn to_loopback(self) -> Self {
        Self { to_loopback: true, ..self }
    }

    fn tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    fn from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    fn to(self, value: IpAddr) -> Self {
        Self { destination: Some(Test { value, inverted: false }), ..self }
    }

    fn not_to(self, value: IpAddr) -> Self {
        Self { destination: Some(Test { value, inverted: true }), ..self }
    }

    fn port(self, value: u16) -> Self {
        Self { port: Some(Test { value, inverted: false }), ..self }
    }

    fn not_port(self, value: u16) -> Self {
        Self { port: Some(Test { value, inverted: true }), ..self }
    }

    fn by(self, value: Owner) -> Self {
        Self { owner: Some(Test { value, inverted: false }), ..self }
    }

    fn not_by(self, value: Owner) -> Self {
        Self { owner: Some(Test { value, inverted: true }), ..self }
    }
}

/// The source address with which the proxy speaks to its own application: that is how it is told from everybody else.
pub(super) fn passthrough_source(ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into() } else { Ipv4Addr::new(127, 0, 0, 6).into() }
}

/// All rules of one family, chain by chain.
pub(super) fn rules(ipv6: bool, variant: Variant) -> Vec<Rule> {
    use Action::{Jump, Redirect, Return};
    let loopback: IpAddr = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let mut rules =
        vec![Rule::new("PREROUTING", Jump("ISTIO_INBOUND")).tcp(), Rule::new("OUTPUT", Jump("ISTIO_OUTPUT")).tcp()];
    rules.extend(OWN_PORTS.map(|port| Rule::new("ISTIO_INBOUND", Return).tcp().port(port)));
    rules.push(Rule::new("ISTIO_INBOUND", Jump("ISTIO_IN_REDIRECT")).tcp());
    rules.push(Rule::new("ISTIO_IN_REDIRECT", Redirect(INBOUND_PORT)).tcp());
    rules.push(Rule::new("ISTIO_OUTPUT", Return).from(passthrough_source(ipv6)).to_loopback());
    for owner in [Owner::User(PROXY_ID), Owner::Group(PROXY_ID)] {
        let own_call = Rule::new("ISTIO_OUTPUT", Jump("ISTIO_IN_REDIRECT")).tcp().to_loopback();
        rules.push(own_call.not_to(loopback).not_port(TUNNEL_PORT).by(owner));
        rules.push(Rule::new("ISTIO_OUTPUT", Return).to_loopback().not_by(owner));
        if variant != Variant::WithoutExemption {
            rules.push(Rule::new("ISTIO_OUTPUT", Return).by(owner));
        }
    }
    rules.push(Rule::new("ISTIO_OUTPUT", Return).to(loopback));
    rules.push(Rule::new("ISTIO_OUTPUT", Jump("ISTIO_REDIRECT")));
    rules.push(Rule::new("ISTIO_REDIRECT", Redirect(OUTBOUND_PORT)).tcp());
    rules
}
