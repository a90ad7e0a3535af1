//! The description of a packet, in words and as JSON: what is understood of it, and what makes no sense.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::Question;
use crate::model::{Endpoint, Protocol};
use crate::packet::{DeviceName, state};

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub text: String,
    /// What to say instead, where that is known.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The states that can be asked for: their words and bits (`XT_CONNTRACK_STATE_*`, `xt_conntrack_common.h`).
pub const STATES: [(&str, u32); 5] = [
    ("new", state::NEW),
    ("established", state::ESTABLISHED),
    ("related", state::RELATED),
    ("invalid", state::INVALID),
    ("untracked", state::UNTRACKED),
];

/// The bit of a state by its word.
///
/// # Errors
/// Which words there are.
pub fn state(word: &str) -> Result<u32, String> {
    let found = STATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, bit)| *bit).ok_or_else(|| "there are: new, established, related, invalid, untracked".to_owned())
}

/// The word of a state by its bit.
#[must_use]
pub fn state_word(bit: u32) -> Option<&'static str> {
    STATES.iter().find(|(_, known)| *known == bit).map(|(word, _)| *word)
}

/// A protocol by its name or number.
///
/// # Errors
/// Which there are.
pub fn protocol(word: &str) -> Result<Protocol, String> {
    const NAMES: [(&str, u8); 7] =
        [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58), ("ipv6-icmp", 58), ("sctp", 132), ("udplite", 136)];
    let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, number)| *number);
    let number = named.or_else(|| word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit())));
    let number = number.ok_or("there are: tcp, udp, icmp, icmpv6, sctp, or a number up to 255")?;
    Ok(Protocol::from_number(number))
}

/// Whether a protocol's packets have ports.
#[must_use]
pub fn has_ports(protocol: Protocol) -> bool {
    const OTHERS: [u8; 3] = [33, 132, 136];
    match protocol {
        Protocol::Tcp | Protocol::Udp => true,
        Protocol::Other(number) => OTHERS.contains(&number),
    }
}

/// A mark: `1337` or `0x539`.
///
/// # Errors
/// What it should have been.
pub fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        _ => text.parse().ok().filter(|_| !text.starts_with('+')),
    };
    parsed.ok_or_else(|| "a mark is a number of 32 bits, such as 1337 or 0x539".to_owned())
}

/// A device by its name.
///
/// # Errors
/// What it should have been.
pub fn device(text: &str) -> Result<DeviceName, String> {
    DeviceName::new(text).filter(|_| !text.is_empty()).ok_or_else(|| "a device's name has 1 to 15 bytes".to_owned())
}

/// One end of a packet: `10.0.0.5`, `10.0.0.5:80`, `10.0.0.5:https`, `fd00::5`, `[fd00::5]:443`.
///
/// # Errors
/// What is wrong, and what could have been meant.
pub fn end(text: &str) -> Result<(IpAddr, Option<u16>), Wrong> {
    let unmapped = |address: IpAddr, port: Option<u16>| {
        let (end, _) = Endpoint::unmapped(address, port.unwrap_or_default());
        (end.address, port)
    };
    if let Ok(address) = text.parse() {
        return Ok(unmapped(address, None));
    }
    if let Some((plain, device)) = text.trim_start_matches('[').split_once('%')
        && plain.parse::<IpAddr>().is_ok()
    {
        let device = device.split([']', ':']).next().unwrap_or_default();
        return Err(Wrong::new(format!("{text:?} names a device beside the address"))
            .hint(format!("leave %{device} out, and say --interface {device}")));
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (address, port) = match bracketed {
        Some((address, "")) => (address, None),
        Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => text.rsplit_once(':').map_or((text, None), |(address, port)| (address, Some(port))),
    };
    let address = address.parse::<IpAddr>().map_err(|_| no_address(text, address, port))?;
    if bracketed.is_none() && address.is_ipv6() {
        let (port, hint) = (port.unwrap_or_default(), "an IPv6 address with a port stands in brackets");
        return Err(Wrong::new(format!("{text:?} is no address")).hint(format!("{hint}: [{address}]:{port}")));
    }
    let Some(port) = port else { return Ok(unmapped(address, None)) };
    let number = super::port(port).ok_or_else(|| {
        Wrong::new(format!("{port:?} is neither a port nor the name of a service"))
            .hint("ports are 1 to 65535, or names such as https, domain, postgresql")
    })?;
    Ok(unmapped(address, Some(number)))
}

/// Why this is no address.
fn no_address(text: &str, address: &str, port: Option<&str>) -> Wrong {
    let dotted = address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !dotted && !address.is_empty() && address.chars().all(name) {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        return Wrong::new(format!("{address} is a name, and names are not looked up")).hint(format!(
            "what it stands for is the workload's own business; ask there, and give an address such as 10.0.0.5{port}"
        ));
    }
    Wrong::new(format!("{text:?} is no address"))
        .hint("an address, or an address and a port, such as 10.0.0.5:443, [fd00::5]:443 or 10.0.0.5:https")
}

/// A packet as it is described, each part in the words of the command line. What is not told is `None`.
#[derive(Debug, Clone, Default)]
pub struct Described<'a> {
    /// Where it is sent.
    pub to: Cow<'a, str>,
    /// Where it comes from.
    pub from: Option<Cow<'a, str>>,
    /// It comes from outside.
    pub incoming: bool,
    /// Transport protocol; TCP where it is not told.
    pub protocol: Option<Protocol>,
    /// User of the sending socket.
    pub uid: Option<u32>,
    /// Group of the sending socket.
    pub gid: Option<u32>,
    /// Further groups of its process.
    pub groups: Option<Vec<u32>>,
    /// Mark.
    pub mark: u32,
    /// Device.
    pub interface: Option<DeviceName>,
    /// State of its tracking.
    pub state: Option<u32>,
}

impl Described<'_> {
    /// The question that is asked so.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn question(self) -> Result<Question, Wrong> {
        let protocol = self.protocol.unwrap_or(Protocol::Tcp);
        let (address, port) = end(&self.to)?;
        let from = self.from.as_deref().map(end).transpose()?;
        fits(address, port, from, protocol)?;
        let owned = self.uid.is_some() || self.gid.is_some() || self.groups.is_some();
        if self.incoming && owned {
            return Err(Wrong::new("a packet that comes in has no owner here")
                .hint("--uid, --gid, --groups and --as are of packets that a process of the workload sends"));
        }
        Ok(Question {
            incoming: self.incoming,
            protocol,
            source: from.map(|(address, _)| address),
            source_port: from.and_then(|(_, port)| port),
            uid: self.uid,
            gid: self.gid,
            groups: self.groups,
            mark: self.mark,
            interface: self.interface,
            state: self.state,
            ..Question::to(Endpoint::new(address, port.unwrap_or_default()))
        })
    }
}

/// Whether such a packet can be.
fn fits(
    address: IpAddr,
    port: Option<u16>,
    from: Option<(IpAddr, Option<u16>)>,
    protocol: Protocol,
) -> Result<(), Wrong> {
    let ports = has_ports(protocol);
    if address.is_unspecified() {
        let own = if address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        return Err(Wrong::new(format!("no packet is sent to {address}"))
            .hint(format!("a program that connects to it reaches its own machine: {own}{port}")));
    }
    if ports && port.is_none_or(|port| port == 0) {
        let end = Endpoint::new(address, 443);
        return Err(Wrong::new(format!("packets of {} have a port, and none is named", name(protocol)))
            .hint(format!("the destination with its port, such as {end}")));
    }
    if !ports && (port.is_some() || from.is_some_and(|(_, port)| port.is_some())) {
        return Err(Wrong::new(format!("packets of {} have no port", name(protocol))).hint("leave it out"));
    }
    if let Some((from, _)) = from.filter(|(from, _)| from.is_ipv6() != address.is_ipv6()) {
        return Err(Wrong::new(format!("{from} and {address} are of two families")));
    }
    match protocol {
        Protocol::Other(1) if address.is_ipv6() => Err(Wrong::new("over IPv6 it is icmpv6")),
        Protocol::Other(58) if address.is_ipv4() => Err(Wrong::new("over IPv4 it is icmp")),
        _ => Ok(()),
    }
}

/// The word of a protocol, as JSON has it too.
#[must_use]
pub fn name(protocol: Protocol) -> Cow<'static, str> {
    match protocol {
        Protocol::Tcp => "tcp".into(),
        Protocol::Udp => "udp".into(),
        Protocol::Other(1) => "icmp".into(),
        Protocol::Other(58) => "icmpv6".into(),
        Protocol::Other(132) => "sctp".into(),
        Protocol::Other(number) => number.to_string().into(),
    }
}

/// A text of JSON, not copied where it stands there as it is.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    destination: Text<'a>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow)]
    direction: Option<Text<'a>>,
    #[serde(borrow)]
    protocol: Option<Text<'a>>,
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
    mark: Option<u32>,
    #[serde(borrow)]
    interface: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
}

/// The question that an object of JSON asks.
///
/// # Errors
/// What is wrong with it.
pub fn question(json: &[u8]) -> Result<Question, Wrong> {
    let line: Line<'_> = serde_json::from_slice(json).map_err(|error| {
        let text = error.to_string();
        // There is one line only.
        Wrong::new(text.replace(" at line 1 column ", " at character "))
    })?;
    let about = |key: &'static str| move |text: String| Wrong::new(format!("{key}: {text}"));
    let incoming = match line.direction.as_ref().map(|text| &*text.0) {
        None | Some("out") => false,
        Some("in") => true,
        Some(_) => return Err(about("direction")("there are: out, in".to_owned())),
    };
    let described = Described {
        to: line.destination.0,
        from: line.source.map(|text| text.0),
        incoming,
        protocol: line.protocol.map(|text| protocol(&text.0)).transpose().map_err(about("protocol"))?,
        uid: line.uid,
        gid: line.gid,
        // A list without any is as good as none where nobody owns the packet.
        groups: line.groups.filter(|groups| !incoming || !groups.is_empty()),
        mark: line.mark.unwrap_or_default(),
        interface: line.interface.map(|text| device(&text.0)).transpose().map_err(about("interface"))?,
        state: line.state.map(|text| state(&text.0)).transpose().map_err(about("state"))?,
    };
    described.question()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_people_write_them() {
        let of = |text: &str| end(text).map_err(|wrong| wrong.text);
        let v4: IpAddr = [10, 0, 0, 5].into();
        let v6: IpAddr = "fd00::5".parse().expect("an address");
        assert_eq!(of("10.0.0.5"), Ok((v4, None)));
        assert_eq!(of("10.0.0.5:80"), Ok((v4, Some(80))));
        assert_eq!(of("10.0.0.5:https"), Ok((v4, Some(443))));
        assert_eq!(of("[10.0.0.5]:80"), Ok((v4, Some(80))));
        assert_eq!(of("::ffff:10.0.0.5"), Ok((v4, None)));
        assert_eq!(of("[::ffff:10.0.0.5]:80"), Ok((v4, Some(80))));
        assert_eq!(of("fd00::5"), Ok((v6, None)));
        assert_eq!(of("[fd00::5]"), Ok((v6, None)));
        assert_eq!(of("[fd00::5]:domain"), Ok((v6, Some(53))));
        for wrong in
            ["", ":80", "10.0.0", "10.0.0.5:", "10.0.0.5:65536", "10.0.0.5:-1", "[fd00::5", "[fd00::5]80x", "web"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_needs_its_destination_alone() {
        let question = |text: &str| question(text.as_bytes());
        let asked = question(r#"{"destination":"10.0.0.5:80"}"#).expect("a question");
        assert_eq!(asked, Question::to(Endpoint::new([10, 0, 0, 5].into(), 80)));
        let null = r#"{"direction":null,"protocol":null,"source":null,"destination":"10.0.0.5:80","uid":null,"gid":null,
            "groups":null,"mark":null,"interface":null,"state":null}"#;
        assert_eq!(question(null).expect("a question"), asked);
        let escaped = question(r#"{"destination":"10.0.0.5:8\u0030"}"#).expect("a question");
        assert_eq!(escaped, asked);
        let wrong = |text: &str| question(text).expect_err(text).text;
        assert!(wrong(r#"{"destination":"10.0.0.5:80","uuid":7}"#).starts_with("unknown field `uuid`"));
        assert!(wrong("{}").starts_with("missing field `destination`"));
        assert!(wrong(r#"{"destination":"10.0.0.5:80","uid":-1}"#).contains("-1"));
        assert!(wrong(r#"{"destination":"10.0.0.5:80","state":"old"}"#).starts_with("state: there are"));
        assert!(wrong(r#"{"destination":"10.0.0.5:80","direction":"in","uid":0}"#).contains("no owner"));
        assert!(wrong(r#"{"destination":"10.0.0.5:80"} {}"#).starts_with("trailing characters"));
    }
}
