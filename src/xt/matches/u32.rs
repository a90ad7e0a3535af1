//! `-m u32`: four bytes anywhere in the packet, found by arithmetic (`struct xt_u32`).

use std::fmt::Write;

use super::span::bang;
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// What is done with the number read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `&`
    And(u32),
    /// `<<`
    Left(u32),
    /// `>>`
    Right(u32),
    /// `@`: read again, so many bytes behind where the number says.
    At(u32),
}

/// A place and the numbers that may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// The offset read first.
    pub start: u32,
    /// What is done then.
    pub steps: Vec<Step>,
    /// Ranges, ends included; one must hold the number.
    pub values: Vec<(u32, u32)>,
}

/// Tests that all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct U32 {
    /// `!`
    pub negated: bool,
    /// In order.
    pub tests: Vec<Test>,
}

/// `XT_U32_MAXSIZE` and one more: what the kernel's structure holds of everything.
const MOST: usize = 11;
const TEST: usize = 16 * MOST + 4;

impl Step {
    fn sign(self) -> (&'static str, u32) {
        match self {
            Self::And(number) => ("&", number),
            Self::Left(number) => ("<<", number),
            Self::Right(number) => (">>", number),
            Self::At(number) => ("@", number),
        }
    }
}

impl Test {
    fn decode(layout: Layout<'_>, at: usize) -> Option<Self> {
        let (numbers, values) = (layout.u8(at + 16 * MOST)?, layout.u8(at + 16 * MOST + 1)?);
        let (numbers, values) = (usize::from(numbers), usize::from(values));
        if numbers == 0 || values == 0 || numbers > MOST || values > MOST {
            return None;
        }
        let step = |index: usize| {
            let number = layout.u32(at + 8 * index)?;
            match layout.u8(at + 8 * index + 4)? {
                0 => Some(Step::And(number)),
                1 => Some(Step::Left(number)),
                2 => Some(Step::Right(number)),
                3 => Some(Step::At(number)),
                _ => None,
            }
        };
        let value = |index: usize| {
            let at = at + 8 * MOST + 8 * index;
            layout.u32(at).zip(layout.u32(at + 4))
        };
        Some(Self {
            start: layout.u32(at)?,
            steps: (1..numbers).map(step).collect::<Option<_>>()?,
            values: (0..values).map(value).collect::<Option<_>>()?,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (place, values) = text.split_once('=')?;
        let number = |text: &str| parse_number(text.trim());
        let sign_at = |text: &str| text.find(['&', '<', '>', '@']).unwrap_or(text.len());
        let (start, mut rest) = place.split_at_checked(sign_at(place))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (sign, behind) =
                ["&", "<<", ">>", "@"].into_iter().find_map(|sign| Some((sign, rest.strip_prefix(sign)?)))?;
            let (operand, next) = behind.split_at_checked(sign_at(behind))?;
            let operand = number(operand)?;
            steps.push(match sign {
                "&" => Step::And(operand),
                "<<" => Step::Left(operand),
                ">>" => Step::Right(operand),
                _ => Step::At(operand),
            });
            rest = next;
        }
        let range = |text: &str| {
            let (from, to) = text.split_once(':').unwrap_or((text, text));
            number(from).zip(number(to))
        };
        let values: Vec<(u32, u32)> = values.split(',').map(range).collect::<Option<_>>()?;
        let fits = steps.len() < MOST && values.len() <= MOST;
        Some(Self { start: number(start)?, steps, values }).filter(|_| fits)
    }

    fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, "{:#x}", self.start).ok();
        for (sign, number) in self.steps.iter().map(|step| step.sign()) {
            write!(out, "{sign}{number:#x}").ok();
        }
        for (index, (from, to)) in self.values.iter().enumerate() {
            out.push(if index == 0 { '=' } else { ',' });
            if from == to { write!(out, "{from:#x}") } else { write!(out, "{from:#x}:{to:#x}") }.ok();
        }
    }
}

impl U32 {
    fn text(&self) -> String {
        let mut text = String::new();
        for (index, test) in self.tests.iter().enumerate() {
            text.push_str(if index > 0 { "&&" } else { "" });
            test.write(&mut text);
        }
        text
    }
}

impl Extension for U32 {
    const NAMES: &'static [&'static str] = &["u32"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--u32", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (count, negated) = (usize::from(layout.u8(TEST * MOST)?), layout.u8(TEST * MOST + 1)?);
        if revision != 0 || count == 0 || count > MOST || negated > 1 {
            return None;
        }
        let tests = (0..count).map(|index| Test::decode(layout, TEST * index));
        Some(Self { negated: negated == 1, tests: tests.collect::<Option<_>>()? })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let tests: Vec<Test> = given.value().split("&&").map(Test::parse).collect::<Option<_>>()?;
        (tests.len() <= MOST).then_some(Self { negated: given.negated, tests })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --u32 \"{}\"", bang(self.negated), self.text()));
    }
}

impl Matching for U32 {
    fn condition(&self) -> Condition {
        Condition::Opaque(format!("the bytes at {}", self.text())).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        words.also(format!("{} bytes at {}", if self.negated { "without" } else { "with" }, self.text()));
    }
}
