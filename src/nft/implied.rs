//! Which headers the packet has, as the rule's own comparisons tell, and which of these nft leaves out of its text.
//!
//! nft adds by itself what a field needs (`meta l4proto tcp` before a port), and takes it out again when it lists the rule: each
//! comparison that names the next header is remembered until a field of that header makes it needless.

use super::header::{self, Field, LINK, NETWORK, Protocol, TRANSPORT};
use super::kind::number;
use super::reading::Reader;
use super::{Family, HeaderOption, Right, Statement, Term};

/// `NFT_META_*` that say which protocol follows.
const PROTOCOL: u32 = 1;
const DEVICE_TYPE: u32 = 8;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;

/// Behind the transport header.
const INNER: u32 = 3;
/// `ICMP_ECHO`, for which an answer counts too.
const ECHO: u8 = 8;
const ECHO6: u8 = 128;

/// What is known of the packet's headers so far.
#[derive(Debug)]
pub(super) struct Headers {
    /// By base: what the header there is, as far as it is known.
    known: [Option<&'static Protocol>; 3],
    /// Headers of the link before the last one.
    stacked: Vec<&'static Protocol>,
    /// Type of the ICMP message, where it is known; 0 for none.
    message: u8,
    /// By the base of the header that is asked for: the statement that asks, needless once a field of that header is named.
    asked: [Option<usize>; 4],
    /// Type of the ICMP message that is asked for.
    asked_message: u8,
}

impl Headers {
    pub(super) fn of(family: Family) -> Self {
        let by_name = |link: Option<&str>, network: Option<&str>| {
            [link.and_then(header::protocol), network.and_then(header::protocol), None]
        };
        let known = match family {
            Family::Ip => by_name(None, Some("ip")),
            Family::Ip6 => by_name(None, Some("ip6")),
            Family::Arp => by_name(None, Some("arp")),
            Family::Inet => by_name(Some("inet"), None),
            Family::Bridge => by_name(Some("ether"), None),
            Family::Netdev => by_name(Some("netdev"), None),
        };
        Self { known, stacked: Vec::new(), message: 0, asked: [None; 4], asked_message: 0 }
    }

    /// What stands there; with the bits in front of it.
    pub(super) fn at(&self, base: u32, offset: u32) -> Option<(&'static Protocol, u32)> {
        let top = self.known.get(base as usize).copied().flatten()?;
        if base != LINK {
            return Some((top, 0));
        }
        let mut skipped = 0;
        for header in &self.stacked {
            let end = skipped + header.length() * 8;
            if offset < end {
                return Some((header, skipped));
            }
            skipped = end;
        }
        Some((top, skipped))
    }

    /// Whether a field is one of the message that is looked at.
    pub(super) fn has(&self, field: &Field) -> bool {
        field.message.is_none_or(|message| self.message == 0 || self.message == message)
    }

    /// The network header is that of IPv6.
    pub(super) fn is_ipv6(&self) -> Option<bool> {
        match self.network() {
            Some("ip6") => Some(true),
            Some("ip") => Some(false),
            _ => None,
        }
    }

    /// nft's word for the network header.
    pub(super) fn network(&self) -> Option<&'static str> {
        self.known.get(NETWORK as usize).copied().flatten().map(|protocol| protocol.name)
    }

    /// Nothing that stands before is left out any more.
    pub(super) fn forget_asked(&mut self) {
        (self.asked, self.asked_message) = ([None; 4], 0);
    }

    fn set(&mut self, base: u32, protocol: Option<&'static Protocol>) {
        if let Some(place) = self.known.get_mut(base as usize) {
            *place = protocol;
        }
    }
}

fn is_key(field: &Field) -> bool {
    header::protocol(field.header).and_then(|protocol| protocol.key) == Some(field.name)
}

impl Reader<'_> {
    /// A field is named: nobody need be told any more that its header is there.
    ///
    /// What says which header comes next leaves the one before it in the text where it is compared with a value.
    pub(super) fn used(&mut self, field: &Field, compared: bool) {
        let Some(which) = self.asks(field.base) else { return };
        if self.needless(field, compared, which) {
            self.drop_asked(which);
        }
    }

    /// An option or extension header is named.
    pub(super) fn used_option(&mut self, option: HeaderOption) {
        const TCP: u32 = 1;
        match option.of {
            TCP => {
                if let Some(which) = self.asks(TRANSPORT) {
                    self.drop_asked(which);
                }
            }
            0 | 2 => self.drop_asked(NETWORK),
            _ => {}
        }
    }

    /// An address of the connection, in the network's own form, is named.
    pub(super) fn used_network(&mut self) {
        self.drop_asked(NETWORK);
    }

    /// Where it stands which statement asks for the header of this base.
    fn asks(&self, base: u32) -> Option<u32> {
        let there = |base: u32| self.headers.asked.get(base as usize).copied().flatten().is_some();
        match base {
            base if there(base) => Some(base),
            TRANSPORT if there(INNER) => Some(INNER),
            _ => None,
        }
    }

    /// Whether the statement says nothing that the field does not say.
    fn needless(&self, field: &Field, compared: bool, which: u32) -> bool {
        let statement = self.headers.asked.get(which as usize).copied().flatten();
        let Some(Some(Statement::Match { left, right, .. })) = statement.and_then(|index| self.statements.get(index))
        else {
            return true;
        };
        let Term::Field(asked) = left else { return true };
        if !matches!(self.place.family, Family::Ip | Family::Ip6 | Family::Arp) {
            // It also tells the families apart.
            if asked.base == NETWORK && matches!(asked.header, "ip" | "ip6") && field.base == TRANSPORT {
                return false;
            }
            if asked.base == field.base {
                if compared && is_key(field) {
                    return false;
                }
                if field.base == LINK {
                    let vlan = matches!(right, Right::Value(value) if *value == [0x81, 0x00]);
                    return asked.header != "vlan" && (asked.header != "ether" || vlan);
                }
            }
        }
        if field.base == TRANSPORT && asked.base == TRANSPORT && matches!(asked.header, "icmp" | "icmpv6") {
            return asked.header == field.header && field.message == Some(self.headers.asked_message);
        }
        true
    }

    pub(super) fn reject(&mut self, kind: u32, code: u8, both: bool) -> Statement {
        const RESET: u32 = 1;
        const EITHER: u32 = 2;
        if both && kind != EITHER {
            self.drop_asked(NETWORK);
        }
        if !both
            && kind == RESET
            && let Some(which) = self.asks(TRANSPORT)
        {
            self.drop_asked(which);
        }
        // Tables of one family answer in theirs, whatever the rule asks for.
        let ipv6 = if both { self.headers.is_ipv6() } else { Some(self.place.family == Family::Ip6) };
        Statement::Reject { kind, code, ipv6, both }
    }

    /// The statement is implied by another: nft does not write it.
    fn drop_asked(&mut self, which: u32) {
        let statement = self.headers.asked.get_mut(which as usize).and_then(Option::take);
        if let Some(place) = statement.and_then(|index| self.statements.get_mut(index)) {
            *place = None;
        }
    }

    fn ask(&mut self, base: u32, index: usize) {
        if let Some(place) = self.headers.asked.get_mut(base as usize).filter(|_| !self.whole) {
            *place = Some(index);
        }
    }

    /// What the comparison that is the statement of this number tells of the packet's headers.
    pub(super) fn learn(&mut self, term: &Term, said: u128, index: usize) {
        match term {
            Term::Meta(key) => self.learn_meta(*key, said, index),
            Term::Field(field) => self.learn_field(field, said, index),
            _ => {}
        }
    }

    fn learn_meta(&mut self, key: u32, said: u128, index: usize) {
        const ETHERNET: u128 = 1;
        let link = self.headers.known.first().copied().flatten();
        let asked = match key {
            NFPROTO => {
                let network = match (said, self.place.family) {
                    (2, _) => header::protocol("ip"),
                    (10, _) => header::protocol("ip6"),
                    _ => None,
                };
                self.headers.set(NETWORK, network);
                NETWORK
            }
            PROTOCOL => {
                if matches!(self.place.family, Family::Netdev | Family::Bridge) {
                    self.headers.set(NETWORK, link.and_then(|link| link.next(said)));
                }
                NETWORK
            }
            DEVICE_TYPE => {
                self.headers.set(LINK, if said == ETHERNET { header::protocol("ether") } else { None });
                LINK
            }
            L4PROTO => {
                self.protocol = u8::try_from(said).ok();
                self.headers.set(TRANSPORT, header::by_protocol(said));
                if self.implies_network(said) {
                    self.drop_asked(NETWORK);
                }
                TRANSPORT
            }
            _ => return,
        };
        self.ask(asked, index);
    }

    /// Whether the number of a transport protocol makes the statement needless that asks for the network header.
    fn implies_network(&self, protocol: u128) -> bool {
        let statement = self.headers.asked.get(NETWORK as usize).copied().flatten();
        let Some(Some(Statement::Match { left, right: Right::Value(value), .. })) =
            statement.and_then(|index| self.statements.get(index))
        else {
            return true;
        };
        let said = number(value, left.kind(&self.place).1);
        let family = match (left, said) {
            (Term::Meta(NFPROTO), Some(2)) => Some(Family::Ip),
            (Term::Meta(NFPROTO), Some(10)) => Some(Family::Ip6),
            (Term::Meta(NFPROTO), _) => None,
            (Term::Meta(PROTOCOL), Some(0x800)) => Some(Family::Ip),
            (Term::Meta(PROTOCOL), Some(0x86dd)) => Some(Family::Ip6),
            (Term::Field(field), Some(0x800)) if field.base == LINK => Some(Family::Ip),
            (Term::Field(field), Some(0x86dd)) if field.base == LINK => Some(Family::Ip6),
            _ => None,
        };
        match self.place.family {
            Family::Ip | Family::Ip6 => Some(self.place.family) == family,
            Family::Arp => true,
            // ICMP says which family it belongs to.
            _ => matches!((protocol, family), (1, Some(Family::Ip)) | (58, Some(Family::Ip6))),
        }
    }

    fn learn_field(&mut self, field: &Field, said: u128, index: usize) {
        if !is_key(field) {
            return;
        }
        let (Some(of), base) = (header::protocol(field.header), field.base) else { return };
        if base == NETWORK {
            self.protocol = u8::try_from(said).ok();
        }
        let next = of.next(said);
        match next {
            Some(next) => {
                if next.base == base && base == LINK {
                    self.headers.stacked.push(of);
                }
                self.headers.set(next.base, Some(next));
            }
            None if base == TRANSPORT => self.learn_message(field, said),
            None => {}
        }
        let message = u8::try_from(said).unwrap_or_default();
        match field.header {
            "icmp" => {
                self.headers.asked_message = if message == 0 { ECHO } else { message };
                if self.headers.asked_message == ECHO {
                    return;
                }
            }
            "icmpv6" => {
                self.headers.asked_message = message;
                if matches!(message, ECHO6 | 129) {
                    return;
                }
            }
            _ => {}
        }
        // A header within the same layer does not stand behind it.
        let stacked = next.is_some_and(|next| next.base == base && base == LINK);
        self.ask(if stacked { base } else { base + 1 }, index);
    }

    /// A type of ICMP message out of a set that the rule has for itself.
    pub(super) fn learn_messages(&mut self, key: &Term, set: &str) {
        let Term::Field(field) = key else { return };
        if is_key(field) && field.base == TRANSPORT {
            let place = self.place;
            let found = place.set(set).filter(|known| known.is_anonymous());
            for element in found.into_iter().flat_map(|set| &set.elements) {
                if let [said] = element.key.as_slice() {
                    self.learn_message(field, (*said).into());
                }
            }
        }
    }

    fn learn_message(&mut self, field: &Field, said: u128) {
        let message = u8::try_from(said).unwrap_or_default();
        self.headers.message = match (field.header, message) {
            ("icmp", 0) => ECHO,
            ("icmpv6", 129) => ECHO6,
            ("icmp" | "icmpv6", message) => message,
            _ => return,
        };
    }
}
