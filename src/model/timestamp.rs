//! A point in time as it is kept and shown; the only reader of the wall clock outside TSIG. Knows nothing of where it is kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// Milliseconds since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock's.
    pub fn now() -> Self {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(Self(0), |since| Self(whole(since)))
    }

    /// `later` from it.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(whole(later)))
    }

    /// `earlier` than it.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(whole(earlier)))
    }

    /// RFC 3339 to the millisecond; `None` for what no calendar holds.
    pub fn exact(self) -> Option<String> {
        let utc = self.utc()?;
        Some(format!("{}.{:03}Z", to_the_second(utc), utc.millisecond()))
    }

    /// RFC 3339 to the second, for people.
    pub fn second(self) -> String {
        self.utc().map_or_else(|| "-".to_owned(), |utc| to_the_second(utc) + "Z")
    }

    /// To the second, and how long before `now`.
    #[must_use]
    pub fn with_age(self, now: Self) -> String {
        format!("{} ({})", self.second(), self.age(now))
    }

    /// How long before `now`, in its largest unit.
    pub fn age(self, now: Self) -> String {
        let seconds = now.0.saturating_sub(self.0) / 1000;
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

    fn utc(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok()
    }
}

/// RFC 3339 to the millisecond; null for what no calendar holds.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.exact().serialize(serializer)
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
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
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Timestamp(5).plus(Duration::from_secs(1)), Timestamp(1005));
        assert_eq!(Timestamp(5).minus(Duration::from_secs(1)), Timestamp(-995));
        assert_eq!(Timestamp(5).plus(Duration::MAX), Timestamp(i64::MAX));
        assert!(Timestamp::now() > Timestamp(1_700_000_000_000));
    }

    #[test]
    fn text_is_rfc_3339() {
        assert_eq!(Timestamp(0).exact().unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_795_258_230_042).exact().unwrap(), "2026-11-21T10:50:30.042Z");
        assert_eq!(Timestamp(i64::MAX).exact(), None);
        let json = serde_json::to_string(&[Timestamp(1_795_258_230_042), Timestamp(i64::MAX)]).unwrap();
        assert_eq!(json, r#"["2026-11-21T10:50:30.042Z",null]"#);
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        let now = Timestamp(1_795_258_230_042);
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
            assert_eq!(Timestamp(now.0 - seconds * 1000).age(now), text);
        }
        assert_eq!(Timestamp(now.0 - 185_000).with_age(now), "2026-11-21T10:47:25Z (3 min ago)");
    }
}
