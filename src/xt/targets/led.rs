//! `LED`: lights a lamp (`struct xt_led_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// Lights a lamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// Name of the trigger, `netfilter-` left off (hostile).
    pub trigger: String,
    /// How long it stays lit, in milliseconds; `u32::MAX` for good.
    pub delay: u32,
    /// It blinks for each packet.
    pub blink: bool,
}

const PREFIX: &str = "netfilter-";

impl Extension for Led {
    const NAMES: &'static [&'static str] = &["LED"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--led-trigger-id", 1), ("--led-delay", 1), ("--led-always-blink", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 40)?;
        let name = layout.text(0, 27)?;
        let trigger = name.strip_prefix(PREFIX).filter(|trigger| !trigger.is_empty())?.to_owned();
        (revision == 0).then(|| Some(Self { trigger, delay: layout.u32(28)?, blink: layout.u8(27)? != 0 }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let trigger = given("--led-trigger-id")?.value().to_owned();
        let delay = match given("--led-delay") {
            None => 0,
            Some(given) if given.value().to_ascii_lowercase().starts_with("inf") => u32::MAX,
            // The save program writes it with a sign.
            Some(given) => {
                given.number().or_else(|| given.value().parse().ok().map(|signed: i32| signed.cast_unsigned()))?
            }
        };
        (!trigger.is_empty()).then_some(Self { trigger, delay, blink: given("--led-always-blink").is_some() })
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --led-trigger-id \"");
        for character in self.trigger.chars() {
            out.push_str(if matches!(character, '"' | '\\') { "\\" } else { "" });
            out.push(character);
        }
        out.push('"');
        if self.delay != 0 {
            // iptables takes the number for a signed one. Writing to a String cannot fail.
            write!(out, " --led-delay {}", self.delay.cast_signed()).ok();
        }
        out.push_str(if self.blink { " --led-always-blink" } else { "" });
    }
}

impl Targeting for Led {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let time = match self.delay {
            0 => String::new(),
            u32::MAX => ", for good".to_owned(),
            delay => format!(", for {delay} ms"),
        };
        format!("lights the lamp of trigger “{}”{time}{}", self.trigger, if self.blink { ", blinking" } else { "" })
    }
}
