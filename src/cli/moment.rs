//! Moments as they are written: RFC 3339 in UTC, and how long ago.

use std::time::Duration;

use time::OffsetDateTime;

use crate::store::Millis;

/// To the millisecond; `None` for what no calendar holds.
pub(super) fn exact(moment: Millis) -> Option<String> {
    let utc = utc(moment)?;
    Some(format!("{}.{:03}Z", to_the_second(utc), utc.millisecond()))
}

/// To the second.
pub(super) fn second(moment: Millis) -> String {
    utc(moment).map_or_else(|| "-".to_owned(), |utc| to_the_second(utc) + "Z")
}

/// To the second, and how long before `now`.
pub(super) fn with_age(moment: Millis, now: Millis) -> String {
    format!("{} ({})", second(moment), age(moment, now))
}

/// How long before `now`, in its largest unit.
pub(super) fn age(moment: Millis, now: Millis) -> String {
    let seconds = now.0.saturating_sub(moment.0) / 1000;
    let (number, unit) = match seconds {
        // A gateway's clock may be ahead of ours.
        ..1 => return "just now".to_owned(),
        1..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        86_400..172_800 => return "1 day ago".to_owned(),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit} ago")
}

/// A duration as the configuration writes it.
///
/// # Errors
/// What would be right.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).ok_or_else(|| "write an integer with ms, s, m, h or d, such as 1h".to_owned())
}

fn utc(moment: Millis) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.0) * 1_000_000).ok()
}

fn to_the_second(utc: OffsetDateTime) -> String {
    let (year, month, day) = utc.to_calendar_date();
    let (hour, minute, second) = utc.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(exact(Millis(0)).unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(exact(Millis(1_795_258_230_042)).unwrap(), "2026-11-21T10:50:30.042Z");
        assert_eq!(exact(Millis(i64::MAX)), None);
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        let now = Millis(1_795_258_230_042);
        for (seconds, text) in [
            (-5, "just now"),
            (0, "just now"),
            (1, "1 s ago"),
            (59, "59 s ago"),
            (185, "3 min ago"),
            (7200, "2 h ago"),
            (100_000, "1 day ago"),
            (1_000_000, "11 days ago"),
        ] {
            assert_eq!(age(Millis(now.0 - seconds * 1000), now), text);
        }
        assert_eq!(with_age(Millis(now.0 - 185_000), now), "2026-11-21T10:47:25Z (3 min ago)");
    }

    #[test]
    fn durations_are_those_of_the_configuration() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for text in ["", "1", "h", "1 h", "-1h", "1w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
