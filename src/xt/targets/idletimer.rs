//! `IDLETIMER`: tells when no packet came for a while (`struct idletimer_tg_info`, `_v1`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// A timer that each packet starts again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idletimer {
    /// Seconds.
    pub timeout: u32,
    /// Its name in `/sys/class/xt_idletimer` (hostile).
    pub label: String,
    /// `--alarm`: it wakes the machine.
    pub alarm: bool,
}

impl Extension for Idletimer {
    const NAMES: &'static [&'static str] = &["IDLETIMER"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--timeout", 1), ("--label", 1), ("--alarm", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let alarm = match revision {
            0 => Layout::of(data, 40).map(|_| false)?,
            // A flag for Android's kernels, then the kind of timer: 0 or `XT_IDLETIMER_ALARM`.
            1 => match (Layout::of(data, 48)?.u8(32)?, data.get(33)?) {
                (0, alarm @ (0 | 1)) => *alarm == 1,
                _ => return None,
            },
            _ => return None,
        };
        let layout = Layout(data);
        Some(Self { timeout: layout.u32(0)?, label: layout.text(4, 28)?, alarm })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let timeout = given("--timeout")?.number()?;
        Some(Self { timeout, label: given("--label")?.cut(28), alarm: given("--alarm").is_some() })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --timeout {} --label {}", self.timeout, word(&self.label)).ok();
        out.push_str(if self.alarm { " --alarm" } else { "" });
    }
}

impl Targeting for Idletimer {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let alarm = if self.alarm { "alarm" } else { "idle" };
        format!("restarts {alarm} timer “{}” of {} s", self.label, self.timeout)
    }
}
