//! `-m time`: hours, days and dates (`struct xt_time_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::OPTIONAL;
use crate::xt::extension::parse_number;

/// When the rule holds; UTC unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// `--datestart`, `--datestop`: seconds since 1970.
    pub dates: (u32, u32),
    /// `--timestart`, `--timestop`: seconds of the day.
    pub hours: (u32, u32),
    /// `--monthdays`: bits 1 to 31.
    pub month_days: u32,
    /// `--weekdays`: bits 1 (Monday) to 7.
    pub week_days: u8,
    /// `--kerneltz`: in the kernel's time zone.
    pub kernel_zone: bool,
    /// `--contiguous`: hours that pass midnight are one period.
    pub contiguous: bool,
}

const ALL_MONTH: u32 = 0xffff_fffe;
const ALL_WEEK: u8 = 0xfe;
const DAY: u32 = 24 * 60 * 60;
/// What iptables takes for the end of time.
const LAST: u32 = i32::MAX as u32;
const WEEK: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const ALWAYS: Time = Time {
    dates: (0, LAST),
    hours: (0, DAY - 1),
    month_days: ALL_MONTH,
    week_days: ALL_WEEK,
    kernel_zone: false,
    contiguous: false,
};

/// `hh:mm:ss`
fn clock(seconds: u32) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn parse_clock(text: &str) -> Option<u32> {
    let parts: Vec<u32> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date in the Gregorian calendar, counted in years that begin in March.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leap = year / 4 - year / 100 + year / 400;
    // Five months from March on always have 153 days.
    (year * 365 + leap + (153 * month + 2) / 5 + day).checked_sub(719_469)
}

/// Year, month and day of a day since 1970.
fn calendar(day: u32) -> (u32, u32, u32) {
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1).is_some_and(|next| next <= day) {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1).is_some_and(|first| first <= day)).unwrap_or(1);
    (year, month, day + 1 - days(year, month, 1).unwrap_or(day))
}

/// `2024-02-29T05:06:07`, `join` between date and hour.
fn moment(seconds: u32, join: char) -> String {
    let (year, month, day) = calendar(seconds / DAY);
    format!("{year:04}-{month:02}-{day:02}{join}{}", clock(seconds % DAY))
}

/// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`
fn parse_moment(text: &str) -> Option<u32> {
    let (date, hour) = text.split_once('T').map_or((text, None), |(date, hour)| (date, Some(hour)));
    let parts: Vec<u32> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (year, month, day) = match (parts.as_slice(), hour) {
        ([year], None) => (*year, 1, 1),
        ([year, month], None) => (*year, *month, 1),
        ([year, month, day], _) => (*year, *month, *day),
        _ => return None,
    };
    let clock = match hour {
        None => 0,
        Some(hour) if !hour.contains(':') => parse_clock(&format!("{hour}:00"))?,
        Some(hour) => parse_clock(hour)?,
    };
    let possible = (1970..=2106).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = days(year, month, day).filter(|_| possible)?;
    days.checked_mul(DAY)?.checked_add(clock)
}

/// A list of days as bits, by number or by what `named` makes of a name.
fn parse_days(given: &Given, most: u32, named: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let day = |text: &str| parse_number(text).or_else(|| named(text)).filter(|day| (1..=most).contains(day));
    let days = given.value().split(',').filter(|_| !given.values.is_empty());
    let bits = days.into_iter().try_fold(0_u32, |bits, text| Some(bits | 1 << day(text)?))?;
    Some(if given.negated { !bits } else { bits })
}

impl Time {
    fn month_days(&self) -> Vec<String> {
        (1..32).filter(|day| self.month_days & (1 << day) != 0).map(|day| day.to_string()).collect()
    }

    fn week_days(&self) -> Vec<&'static str> {
        let named = WEEK.iter().enumerate().filter(|(index, _)| self.week_days & (2 << index) != 0);
        named.map(|(_, name)| *name).collect()
    }
}

impl Extension for Time {
    const NAMES: &'static [&'static str] = &["time"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--datestart", 1),
        ("--datestop", 1),
        ("--timestart", 1),
        ("--timestop", 1),
        ("--monthdays", OPTIONAL),
        // iptables-save leaves the list out where no day is left, and iptables-restore cannot read that.
        ("--weekdays", OPTIONAL),
        ("--kerneltz", 0),
        ("--contiguous", 0),
        ("--localtz", 0),
        ("--utc", 0),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let flags = layout.u8(21)?;
        let found = Self {
            dates: (layout.u32(0)?, layout.u32(4)?),
            hours: (layout.u32(8)?, layout.u32(12)?),
            month_days: layout.u32(16)?,
            week_days: layout.u8(20)?,
            kernel_zone: flags & 1 != 0,
            contiguous: flags & 2 != 0,
        };
        let possible = found.hours.0 < DAY && found.hours.1 < DAY && found.dates.1 != 0;
        let named = found.month_days & 1 == 0 && found.week_days & 1 == 0;
        (revision == 0 && flags & !3 == 0 && possible && named).then_some(found)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = ALWAYS;
        let week_day = |name: &str| {
            let known = |day: &&str| name.get(..2).is_some_and(|two| day.get(..2) == Some(two));
            let index = WEEK.iter().position(known)?;
            u32::try_from(index + 1).ok()
        };
        for given in options {
            match given.name {
                "--datestart" => found.dates.0 = parse_moment(given.value())?,
                "--datestop" => found.dates.1 = parse_moment(given.value())?,
                "--timestart" => found.hours.0 = parse_clock(given.value())?,
                "--timestop" => found.hours.1 = parse_clock(given.value())?,
                "--monthdays" => found.month_days = parse_days(given, 31, |_| None)? & ALL_MONTH,
                "--weekdays" => {
                    let bits = parse_days(given, 7, week_day)? & u32::from(ALL_WEEK);
                    found.week_days = u8::try_from(bits).ok()?;
                }
                "--kerneltz" | "--localtz" => found.kernel_zone = true,
                "--contiguous" => found.contiguous = true,
                _ => {}
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if self.hours != ALWAYS.hours {
            let (start, stop) = self.hours;
            write!(out, " --timestart {} --timestop {}", clock(start), clock(stop)).ok();
        }
        if self.month_days != ALL_MONTH {
            write!(out, " --monthdays {}", self.month_days().join(",")).ok();
        }
        if self.week_days != ALL_WEEK {
            write!(out, " --weekdays {}", self.week_days().join(",")).ok();
        }
        if self.dates.0 != 0 {
            write!(out, " --datestart {}", moment(self.dates.0, 'T')).ok();
        }
        write!(out, " --datestop {}", moment(self.dates.1, 'T')).ok();
        out.push_str(if self.kernel_zone { " --kerneltz" } else { "" });
        out.push_str(if self.contiguous { " --contiguous" } else { "" });
    }
}

impl Matching for Time {
    fn condition(&self) -> Condition {
        if *self == ALWAYS { Condition::Always } else { Condition::Opaque("the time".into()) }
    }

    fn explain(&self, words: &mut Words) {
        let mut parts = Vec::new();
        let (from, to) = self.hours;
        if self.hours != ALWAYS.hours {
            parts.push(format!("between {} and {}", clock(from), clock(to)));
        }
        if self.contiguous {
            parts.push("past midnight".to_owned());
        }
        let list = |days: &[&str]| if days.is_empty() { "never".to_owned() } else { format!("on {}", days.join(", ")) };
        if self.week_days != ALL_WEEK {
            parts.push(list(&self.week_days()));
        }
        if self.month_days != ALL_MONTH {
            let days = self.month_days();
            let days: Vec<&str> = days.iter().map(String::as_str).collect();
            parts.push(format!("{} of the month", list(&days)));
        }
        if self.dates.0 != 0 {
            parts.push(format!("since {}", moment(self.dates.0, ' ')));
        }
        if self.dates.1 != LAST {
            parts.push(format!("until {}", moment(self.dates.1, ' ')));
        }
        let zone = if self.kernel_zone { "in the kernel's time zone" } else { "UTC" };
        words.also(if parts.is_empty() {
            format!("at any time {zone}")
        } else {
            format!("{} {zone}", parts.join(" "))
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // iptables' translation forgets time zone and contiguity, and knows no days of a month.
        if self.kernel_zone || self.contiguous || self.month_days != ALL_MONTH || self.week_days == 0 {
            return None;
        }
        let mut parts = Vec::new();
        if self.dates != ALWAYS.dates {
            parts.push(format!("meta time \"{}\"-\"{}\"", moment(self.dates.0, ' '), moment(self.dates.1, ' ')));
        }
        if self.hours != ALWAYS.hours {
            parts.push(format!("meta hour \"{}\"-\"{}\"", clock(self.hours.0), clock(self.hours.1)));
        }
        if self.week_days != ALL_WEEK {
            let each = (1..8).filter(|day| self.week_days & (1 << day) != 0).map(|day| (day % 7).to_string());
            let each: Vec<String> = each.collect();
            let list = if each.len() > 1 { format!("{{ {} }}", each.join(", ")) } else { each.concat() };
            parts.push(format!("meta day {list}"));
        }
        // A blank stands before each, unless a date comes first.
        let blank = if parts.is_empty() || self.dates != ALWAYS.dates { "" } else { " " };
        Some(format!("{blank}{}", parts.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_what_it_is_called() {
        for day in (0..49_710).step_by(7).chain([0, 58, 59, 789, 790, 10_957, 11_016, 49_709]) {
            let (year, month, date) = calendar(day);
            assert_eq!(days(year, month, date), Some(day), "{year}-{month}-{date}");
            assert!((1..=31).contains(&date));
        }
        assert_eq!(moment(LAST, 'T'), "2038-01-19T03:14:07");
        assert_eq!(moment(1_709_164_800, ' '), "2024-02-29 00:00:00");
    }
}
