//! Named objects and flow tables of nf_tables (`include/uapi/linux/netfilter/nf_tables.h`).

use super::attribute::attributes;
use super::nf_expression::{Fields, synproxy, typed};
use super::nf_tables::{NftablesError, body, unknown};
use crate::nft::{Expression, FlowTable, Object};

/// A `NFT_MSG_NEWOBJ` message.
///
/// # Errors
/// [`NftablesError`].
pub fn object(message: &[u8]) -> Result<Object, NftablesError> {
    let (_, rest) = body("object", message)?;
    let (mut name, mut kind, mut data) = (String::new(), 0, &[][..]);
    let (mut handle, mut user_data, mut extra) = (None, Vec::new(), Vec::new());
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            2 => name = attribute.text(),
            3 => kind = attribute.be32().unwrap_or_default(),
            4 => data = attribute.value,
            6 => handle = attribute.be64(),
            8 => user_data = attribute.value.to_vec(),
            // Table, uses, padding.
            1 | 5 | 7 => {}
            _ => extra.push(unknown(&attribute)),
        }
    }
    Ok(Object { name, handle, kind, expression: content(kind, data), user_data, unknown: extra })
}

/// What an object of this kind is.
fn content(kind: u32, data: &[u8]) -> Expression {
    let fields = Fields(data);
    let read = match kind {
        // These have the attributes of the expression.
        1 => return typed(b"counter", data),
        2 => return typed(b"quota", data),
        4 => return typed(b"limit", data),
        3 => helper(&fields),
        7 => timeouts(&fields),
        8 if fields.only(&[1]) => fields.get(1).map(|context| Expression::Secmark(context.text())),
        9 => expectation(&fields),
        10 if fields.only(&[1, 2, 3]) => synproxy(&fields),
        _ => None,
    };
    let word = match kind {
        3 => "ct helper",
        7 => "ct timeout",
        8 => "secmark",
        9 => "ct expectation",
        10 => "synproxy",
        6 => "tunnel",
        _ => "object",
    };
    read.unwrap_or_else(|| Expression::Unknown { name: word.to_owned(), data: data.to_vec() })
}

/// `NFTA_CT_HELPER_*`
fn helper(fields: &Fields<'_>) -> Option<Expression> {
    let read = || {
        Some(Expression::Helper {
            name: fields.get(1)?.text(),
            family: fields.get(2)?.be16()?,
            protocol: fields.get(3)?.u8()?,
        })
    };
    fields.only(&[1, 2, 3]).then(read)?
}

/// `NFTA_CT_TIMEOUT_*`: the policy holds `CTA_TIMEOUT_*` of the protocol, seconds each.
fn timeouts(fields: &Fields<'_>) -> Option<Expression> {
    if !fields.only(&[1, 2, 3]) {
        return None;
    }
    let seconds: Option<Vec<(u16, u32)>> = attributes(fields.get(3)?.value)
        .map(|state| state.ok().and_then(|state| Some((state.kind, state.be32()?))))
        .collect();
    Some(Expression::Timeouts { family: fields.get(1)?.be16()?, protocol: fields.get(2)?.u8()?, seconds: seconds? })
}

/// `NFTA_CT_EXPECT_*`
fn expectation(fields: &Fields<'_>) -> Option<Expression> {
    if !fields.only(&[1, 2, 3, 4, 5]) {
        return None;
    }
    Some(Expression::Expectation {
        family: fields.get(1)?.be16()?,
        protocol: fields.get(2)?.u8()?,
        port: fields.get(3)?.be16()?,
        // In the machine's order (net/netfilter/nft_ct.c).
        timeout: fields.get(4)?.u32()?,
        size: fields.get(5)?.u8()?,
    })
}

/// A `NFT_MSG_NEWFLOWTABLE` message.
///
/// # Errors
/// [`NftablesError`].
pub fn flow_table(message: &[u8]) -> Result<FlowTable, NftablesError> {
    let (_, rest) = body("flow table", message)?;
    let mut table = FlowTable::default();
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            2 => table.name = attribute.text(),
            3 => {
                // NFTA_FLOWTABLE_HOOK_*: number, priority, devices; the devices stand one level deeper than those of chains.
                for part in attribute.nested() {
                    let part = part?;
                    match part.kind {
                        1 => table.hook = part.be32(),
                        2 => table.priority = part.be32().map(u32::cast_signed),
                        3 => {
                            for device in part.nested() {
                                table.devices.push(device?.text());
                            }
                        }
                        _ => table.unknown.push(unknown(&part)),
                    }
                }
            }
            5 => table.handle = attribute.be64(),
            7 => table.flags = attribute.be32().unwrap_or_default(),
            // Table, uses, padding.
            1 | 4 | 6 => {}
            _ => table.unknown.push(unknown(&attribute)),
        }
    }
    Ok(table)
}
