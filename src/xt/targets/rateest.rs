//! `RATEEST`: measures the rate of what passes (`struct xt_rateest_target_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// A measured rate, that `-m rateest` compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateestTarget {
    /// Its name (hostile).
    pub name: String,
    /// How often it is measured, by powers of two: 0 for 250 ms to 5 for 8 s.
    pub interval: u8,
    /// Over how many intervals it is averaged, as a power of two.
    pub averaging: u8,
}

/// Microseconds of the shortest interval.
const SHORTEST: u64 = 250_000;
/// The longest interval.
const LONGEST: u8 = 5;
/// The kernel takes no more.
const AVERAGING: u8 = 30;

impl RateestTarget {
    /// Microseconds between measurements, and those over which is averaged.
    fn times(&self) -> (u64, u64) {
        let interval = SHORTEST << self.interval.min(LONGEST);
        (interval, interval << self.averaging.min(AVERAGING))
    }
}

/// `250.0ms`, `1.0s`
fn time_text(microseconds: u64) -> String {
    // Far below 2⁵³: at most 8 s shifted by 30 bits.
    #[expect(clippy::cast_precision_loss, reason = "times are short enough")]
    let time = microseconds as f64;
    if microseconds >= 1_000_000 { format!("{:.1}s", time / 1e6) } else { format!("{:.1}ms", time / 1e3) }
}

/// −ln(1 − x) for x from 0 to a half, by its series: for the C library's own, every start of the program would load libm.
fn logarithm_below_one(x: f64) -> f64 {
    // Each term is at most half of the one before: these are more than a float can tell apart.
    const TERMS: u8 = 64;
    let terms = (1..=TERMS).scan(1.0, |power, term| {
        *power *= x;
        Some(*power / f64::from(term))
    });
    terms.sum()
}

/// A time as iptables takes it, in microseconds; without a unit they are meant.
fn parse_time(text: &str) -> Option<f64> {
    let unit_at = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" => 1e6,
        "ms" | "msec" | "msecs" => 1e3,
        "" | "us" | "usec" | "usecs" => 1.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * scale)
}

impl Extension for RateestTarget {
    const NAMES: &'static [&'static str] = &["RATEEST"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--rateest-name", 1), ("--rateest-interval", 1), ("--rateest-ewmalog", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 32)?;
        // The kernel counts intervals from −2 on.
        let interval = layout.u8(16)?.wrapping_add(2);
        let averaging = layout.u8(17)?;
        // iptables counts microseconds in 32 bits.
        let sayable = |shift: u8| SHORTEST.checked_shl(shift.into()).is_some_and(|time| time <= u32::MAX.into());
        let known = interval <= LONGEST && (1..AVERAGING).contains(&averaging) && sayable(interval + averaging);
        (revision == 0 && known).then(|| Some(Self { name: layout.text(0, 16)?, interval, averaging }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let name = given("--rateest-name")?.cut(16);
        let wanted = parse_time(given("--rateest-interval")?.value())?;
        let average = parse_time(given("--rateest-ewmalog")?.value()).filter(|time| *time <= f64::from(u32::MAX))?;
        // The shortest interval that is long enough, and the longest average that is not too long.
        let length = |interval: u8| 250_000.0 * f64::from(1_u32 << interval);
        let interval = (0..=LONGEST).find(|interval| wanted <= length(*interval))?;
        let weight = |averaging: u8| logarithm_below_one(1.0 / f64::from(1_u32 << averaging));
        let too_long = (1..=AVERAGING).find(|averaging| length(interval) / weight(*averaging) > average)?;
        let averaging = too_long.checked_sub(1).filter(|averaging| *averaging > 0)?;
        Some(Self { name, interval, averaging })
    }

    fn save(&self, out: &mut String) {
        let (interval, average) = self.times();
        let (interval, average) = (time_text(interval), time_text(average));
        let name = word(&self.name);
        // Writing to a String cannot fail.
        write!(out, " --rateest-name {name} --rateest-interval {interval} --rateest-ewmalog {average}").ok();
    }
}

impl Targeting for RateestTarget {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let (interval, average) = self.times();
        let (interval, average) = (time_text(interval), time_text(average));
        format!("rate measured as “{}” (every {interval}, averaged over {average})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::logarithm_below_one;

    #[test]
    fn the_series_is_the_logarithm() {
        for shift in 1..=30_u32 {
            let x = 1.0 / f64::from(1_u32 << shift);
            let (ours, exact) = (logarithm_below_one(x), -(-x).ln_1p());
            assert!((ours / exact - 1.0).abs() < 1e-14, "{x}: {ours} for {exact}");
        }
    }
}
