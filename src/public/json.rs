//! A JSON object as clients send one: names in any letter case, as Go's decoder takes them. One that is given twice with two
//! values contradicts itself. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::gateway::BadAddress;

/// The members of an object.
#[derive(Default)]
pub(super) struct JsonObject(BTreeMap<String, Vec<Member>>);

/// The value of a member.
#[derive(PartialEq, Eq)]
enum Member {
    Text(String),
    Null,
    /// Something else, of whatever depth.
    Other,
}

impl JsonObject {
    /// Whether `body` may be one: whatever it is called, acme.sh calls JSON a form.
    pub(super) fn is_begun_by(body: &[u8]) -> bool {
        body.trim_ascii_start().starts_with(b"{")
    }

    /// Reads all of `body`.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The text that is called `key`, which is in lower case; `None` where it is not there, or null.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, BadAddress> {
        let mut members = self.0.get(key).map(Vec::as_slice).unwrap_or_default().iter();
        let Some(first) = members.next() else { return Ok(None) };
        match first {
            _ if members.any(|other| other != first) => Err(BadAddress::Contradiction),
            Member::Text(text) => Ok(Some(text)),
            Member::Null => Ok(None),
            Member::Other => Err(BadAddress::NotUnderstood("a value of the JSON is no text")),
        }
    }
}

impl fmt::Debug for JsonObject {
    // Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = JsonObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<JsonObject, M::Error> {
        let mut object = JsonObject::default();
        while let Some((key, member)) = map.next_entry::<String, Member>()? {
            object.0.entry(key.to_ascii_lowercase()).or_default().push(member);
        }
        Ok(object)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Member, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Member, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, key: &str) -> Result<Option<String>, BadAddress> {
        JsonObject::parse(body.as_bytes()).unwrap().text(key).map(|text| text.map(str::to_owned))
    }

    #[test]
    fn a_name_counts_in_any_letter_case_and_another_kind_of_value_is_no_text() {
        let body =
            r#" {"SubDomain": "a\u0062", "Txt": null, "allowFrom": ["x", {"y": [[]]}], "n": -1, "f": 1e3, "t": true} "#;
        assert!(JsonObject::is_begun_by(body.as_bytes()));
        assert_eq!(text(body, "subdomain").unwrap().as_deref(), Some("ab"));
        assert_eq!((text(body, "txt"), text(body, "none")), (Ok(None), Ok(None)));
        for other in ["allowfrom", "n", "f", "t"] {
            assert!(matches!(text(body, other), Err(BadAddress::NotUnderstood(_))), "{other}");
        }
    }

    #[test]
    fn what_is_said_twice_is_the_same_or_a_contradiction() {
        assert_eq!(text(r#"{"txt": "a", "TXT": "a"}"#, "txt").unwrap().as_deref(), Some("a"));
        for twice in [r#"{"txt": "a", "TXT": "b"}"#, r#"{"txt": null, "txt": "b"}"#, r#"{"txt": "a", "txt": 1}"#] {
            assert_eq!(text(twice, "txt"), Err(BadAddress::Contradiction), "{twice}");
        }
    }

    #[test]
    fn what_is_no_object_or_not_whole_is_none() {
        let deep = [r#"{"a":"#, &"[".repeat(8000), &"]".repeat(8000), "}"].concat();
        assert!(JsonObject::parse(deep.as_bytes()).is_none_or(|object| object.text("a").is_err()));
        let broken: [&[u8]; 9] =
            [b"", b"[]", b"\"{}\"", b"{", b"{}{}", b"{\"a\":}", b"{\"a\":\"\xff\"}", b"{a:1}", b"\xef\xbb\xbf{}"];
        for body in broken {
            assert!(JsonObject::parse(body).is_none(), "{body:?}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", JsonObject::parse(br#"{"Key": "hunter2"}"#)), r#"Some(["key"])"#);
    }
}
