//! `[engine]` and `[limits]`: durations and rates.

use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Problems, quoted};
use super::section::{Key, Section, Value};
use super::{Engine, Limits, Quota};

const DEADLINE: Key = Key::new("deadline", r#""5s""#);
const VERIFY_INTERVAL: Key = Key::new("verify_interval", r#""60s""#);
const DEFER: Key = Key::new("defer", r#""1h""#);

const HOST: Key = Key::new("host", "{ burst = 10, per_minute = 6 }");
const ACCOUNT: Key = Key::new("account", "{ burst = 60, per_minute = 60 }");
const SOURCE: Key = Key::new("source", "{ burst = 120, per_minute = 120 }");
const FAILED_LOGINS: Key = Key::new("failed_logins", "{ burst = 10, per_minute = 2 }");
const REPEATS: Key = Key::new("repeats", "{ burst = 30, per_minute = 1 }");
const BURST: Key = Key::new("burst", "10");
const PER_MINUTE: Key = Key::new("per_minute", "6");

const DEFER_FOR: Duration = Duration::from_secs(3600);

/// `[engine]`
pub(super) fn read_engine(mut section: Section<'_>, problems: &mut Problems<'_>) -> Engine {
    let deadline = section.optional(DEADLINE).and_then(|value| read_duration(&value, ("100ms", "60s"), problems));
    let verify = section.optional(VERIFY_INTERVAL).and_then(|value| read_duration(&value, ("0s", "1d"), problems));
    let defer = match section.optional(DEFER) {
        None => Some(DEFER_FOR),
        Some(value) if matches!(value.raw(), DeValue::String(text) if text == "off") => None,
        Some(value) => read_duration(&value, ("1s", "7d"), problems),
    };
    section.finish(problems);
    Engine {
        defer,
        deadline: deadline.unwrap_or(Duration::from_secs(5)),
        verify_interval: verify.unwrap_or(Duration::from_secs(60)),
    }
}

/// `[limits]`
pub(super) fn read_limits(mut section: Section<'_>, problems: &mut Problems<'_>) -> Limits {
    let limits = Limits {
        host: read_limit(section.optional(HOST), "[limits] host", Some(quota(10, 6)), problems),
        account: read_limit(section.optional(ACCOUNT), "[limits] account", Some(quota(60, 60)), problems),
        source: read_limit(section.optional(SOURCE), "[limits] source", Some(quota(120, 120)), problems),
        failed_logins: read_limit(
            section.optional(FAILED_LOGINS),
            "[limits] failed_logins",
            Some(quota(10, 2)),
            problems,
        ),
        repeats: read_limit(section.optional(REPEATS), "[limits] repeats", None, problems),
    };
    section.finish(problems);
    limits
}

/// `bounds` are durations as one would write them, both included.
pub(super) fn read_duration(value: &Value<'_>, bounds: (&str, &str), problems: &mut Problems<'_>) -> Option<Duration> {
    let DeValue::String(text) = value.raw() else {
        value.wrong_type("a duration in quotes", value.raw(), value.at(), problems);
        return None;
    };
    let Some(duration) = parse_duration(text) else {
        problems.add(
            value.at(),
            format!("{} is {}, which is not a duration", value.label(), quoted(text)),
            format!("write an integer with ms, s, m, h or d, such as {}", value.key().line()),
        );
        return None;
    };
    let (least, most) = bounds;
    let within = parse_duration(least).is_none_or(|least| least <= duration)
        && parse_duration(most).is_none_or(|most| duration <= most);
    if !within {
        problems.add(
            value.at(),
            format!("{} is not between {least} and {most}", value.label()),
            format!("for example: {}", value.key().line()),
        );
    }
    within.then_some(duration)
}

/// An integer and its unit (ms, s, m, h or d), without anything between.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_millis)
}

fn read_limit(
    value: Option<Value<'_>>,
    title: &'static str,
    default: Option<Quota>,
    problems: &mut Problems<'_>,
) -> Option<Quota> {
    let Some(value) = value else { return default };
    match value.raw() {
        DeValue::String(text) if text == "off" => None,
        DeValue::Table(table) => {
            let mut section = Section::new(title, table, value.at());
            let burst = section.required(BURST).and_then(|value| value.integer(1..=u32::MAX, problems));
            let rate = section.required(PER_MINUTE).and_then(|value| value.integer(1..=u32::MAX, problems));
            section.finish(problems);
            Some(quota(burst?, rate?))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => {
            problems.add(
                value.at(),
                format!("{} is neither a table with burst and per_minute nor \"off\"", value.label()),
                format!("for example: {}, or {} = \"off\"", value.key().line(), value.key().name),
            );
            None
        }
    }
}

/// A quota; a zero, which the bounds keep out, would count as one.
const fn quota(burst: u32, per_minute: u32) -> Quota {
    const fn positive(number: u32) -> NonZeroU32 {
        match NonZeroU32::new(number) {
            Some(number) => number,
            None => NonZeroU32::MIN,
        }
    }
    Quota { burst: positive(burst), per_minute: positive(per_minute) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_an_integer_and_a_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("5s", 5000),
            ("0s", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("007s", 7000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            " 5s",
            "5S",
            "1.5s",
            "-1s",
            "5sec",
            "1m30s",
            "99999999999999999999s",
            "9999999999999999d",
            "５s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
