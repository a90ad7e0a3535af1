//! What nft notes beside a set that was declared after an expression (`typeof ip saddr`): the expression, by nft's own numbers.

use super::extension;
use super::header;
use super::user_data::{note, number_of};
use super::{HeaderOption, Load, Term};

/// Numbers of headers (`enum proto_desc_id` of nft).
const HEADERS: [(u32, &str); 18] = [
    (1, "ah"),
    (2, "esp"),
    (3, "comp"),
    (4, "icmp"),
    (5, "igmp"),
    (6, "udp"),
    (7, "udplite"),
    (8, "tcp"),
    (9, "dccp"),
    (10, "sctp"),
    (11, "th"),
    (12, "ip"),
    (13, "ip6"),
    (14, "icmpv6"),
    (15, "arp"),
    (16, "vlan"),
    (17, "ether"),
    (0, ""),
];

/// An expression that nft noted: its number (`enum expr_types`), and its properties.
pub(super) fn noted_term(noted: &[u8]) -> Option<Term> {
    let (kind, data) = (number_of(noted, 0)?, note(noted, 1).unwrap_or_default());
    let byte = |which| number_of(data, which).and_then(|number| u8::try_from(number).ok());
    Some(match kind {
        7 => {
            let number = number_of(data, 0)?;
            let (_, header) = HEADERS.iter().find(|(known, _)| *known == number)?;
            Term::Field(header::numbered(header, usize::try_from(number_of(data, 1)?).ok()?)?)
        }
        8 => option(data)?,
        9 => Term::Meta(number_of(data, 0)?),
        10 => Term::Load(Load::Socket { key: number_of(data, 0)?, level: number_of(data, 1) }),
        11 => Term::Load(Load::Fingerprint { ttl: 0, version: false }),
        12 => {
            let direction = byte(1).filter(|direction| *direction < 2);
            Term::Load(Load::Ct { key: number_of(data, 0)?, direction })
        }
        13 => {
            let parts: Option<Vec<Term>> = (0..16).map_while(|index| note(data, index)).map(noted_term).collect();
            Term::Concat(parts.filter(|parts| !parts.is_empty())?)
        }
        23 => {
            let offset = number_of(data, 2).unwrap_or_default();
            Term::Load(Load::Number { kind: number_of(data, 0)?, modulus: number_of(data, 1)?, offset })
        }
        25 => Term::Load(Load::Route { key: number_of(data, 0)? }),
        26 => Term::Load(Load::Fib { result: number_of(data, 0)?, flags: number_of(data, 1)? }),
        27 => {
            let number = number_of(data, 1).unwrap_or_default();
            Term::Load(Load::Transform { key: number_of(data, 0)?, number, direction: byte(2)? })
        }
        _ => return None,
    })
}

/// A field of an option: of which, and its number.
fn option(data: &[u8]) -> Option<Term> {
    let (of, field) = (number_of(data, 2).unwrap_or_default(), number_of(data, 1)?);
    let field = extension::numbered(of, number_of(data, 0)?, usize::try_from(field).ok()?)?;
    let whole = HeaderOption {
        of,
        number: field.number,
        offset: field.offset / 8,
        length: field.bits.div_ceil(8),
        present: false,
    };
    Some(if whole.field() == Some(field) { Term::Option(whole) } else { Term::OptionPart(whole, field, 0) })
}
