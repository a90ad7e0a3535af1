//! `-m bpf`: a program of the old Berkeley filter, or a pinned one of eBPF (`struct xt_bpf_info`, `struct xt_bpf_info_v1`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// One instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions skipped where it holds.
    pub jump_true: u8,
    /// Instructions skipped where it does not.
    pub jump_false: u8,
    /// Its operand.
    pub operand: u32,
}

/// A program that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bpf {
    /// `--bytecode`
    Program(Vec<Instruction>),
    /// `--object-pinned`: a path in the BPF file system.
    Pinned(String),
}

/// `XT_BPF_MAX_NUM_INSTR`, and what a path may take of their place.
const MOST: usize = 64;
const PATH: usize = 512;

fn program(layout: Layout<'_>, at: usize, count: u16) -> Option<Vec<Instruction>> {
    let count = usize::from(count);
    let one = |index: usize| {
        let at = at + 8 * index;
        Some(Instruction {
            code: layout.u16(at)?,
            jump_true: layout.u8(at + 2)?,
            jump_false: layout.u8(at + 3)?,
            operand: layout.u32(at + 4)?,
        })
    };
    if count == 0 || count > MOST { None } else { (0..count).map(one).collect() }
}

impl Bpf {
    fn text(&self) -> String {
        match self {
            Self::Pinned(path) => path.clone(),
            Self::Program(program) => {
                let one = |step: &Instruction| {
                    format!(",{} {} {} {}", step.code, step.jump_true, step.jump_false, step.operand)
                };
                format!("{}{}", program.len(), program.iter().map(one).collect::<String>())
            }
        }
    }

    fn parse_program(text: &str) -> Option<Vec<Instruction>> {
        let (count, steps) = text.split_once(',')?;
        let step = |text: &str| {
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let [code, jump_true, jump_false, operand] = words.as_slice() else { return None };
            Some(Instruction {
                code: code.parse().ok()?,
                jump_true: jump_true.parse().ok()?,
                jump_false: jump_false.parse().ok()?,
                operand: operand.parse().ok()?,
            })
        };
        let program: Vec<Instruction> = steps.split(',').map(step).collect::<Option<_>>()?;
        (count.trim().parse() == Ok(program.len()) && program.len() <= MOST).then_some(program)
    }
}

impl Extension for Bpf {
    const NAMES: &'static [&'static str] = &["bpf"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--bytecode", 1), ("--object-pinned", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        const BYTECODE: u16 = 0;
        const PINNED: u16 = 1;
        let layout = Layout(data);
        match (revision, layout.u16(0)?) {
            (0, count) => program(layout, 4, count).map(Self::Program),
            (1, BYTECODE) => program(layout, 8, layout.u16(2)?).map(Self::Program),
            (1, PINNED) => layout.text(8, PATH).map(Self::Pinned),
            _ => None,
        }
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        match given.name {
            "--bytecode" => Self::parse_program(given.value()).map(Self::Program),
            _ => Some(Self::Pinned(given.cut(512))),
        }
    }

    fn save(&self, out: &mut String) {
        out.push_str(&match self {
            Self::Program(_) => format!(" --bytecode \"{}\"", self.text()),
            Self::Pinned(path) => format!(" --object-pinned {}", word(path)),
        });
    }
}

impl Matching for Bpf {
    fn condition(&self) -> Condition {
        Condition::Opaque("a BPF program's answer".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also(match self {
            Self::Program(_) => format!("that the BPF program {} lets pass", self.text()),
            Self::Pinned(path) => format!("that the BPF program pinned at {} lets pass", word(path)),
        });
    }
}
