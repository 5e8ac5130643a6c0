//! Parameters of a query or a form: names in any letter case, values as octets. One that is given twice says both. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The parameters of one request.
#[derive(Default)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    /// Whether a body was no form.
    has_foreign_body: bool,
}

impl Parameters {
    /// Reads `key=value&…` (application/x-www-form-urlencoded): `+` is a blank, an invalid escape stands for itself.
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self { pairs: pairs(encoded).map(parse_pair).collect(), has_foreign_body: false }
    }

    /// Reads a body. By its octets: curl and acme.sh call everything a form.
    pub(super) fn of_body(body: &[u8]) -> Self {
        let body = body.trim_ascii();
        if pairs(body).all(is_of_a_form) {
            Self::parse(body)
        } else {
            Self { has_foreign_body: true, ..Self::default() }
        }
    }

    /// Those of `later` too.
    pub(super) fn and(mut self, later: Self) -> Self {
        self.pairs.extend(later.pairs);
        self.has_foreign_body |= later.has_foreign_body;
        self
    }

    /// Whether there is a body that is no form, and so was not read.
    pub(super) fn has_foreign_body(&self) -> bool {
        self.has_foreign_body
    }

    /// All of them as they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The elements of each list that is called `key`, which is in lower case; empty ones are none.
    pub(super) fn list<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        let elements = self.values(key).flat_map(|value| value.split(','));
        elements.map(str::trim_ascii).filter(|element| !element.is_empty())
    }

    /// Whether something of this name is there, and nothing in it.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_some() && values.all(|value| value.trim_ascii().is_empty())
    }

    /// What the first of `keys` that is there and not empty says; of several different values all, joined by commas.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<Cow<'_, str>> {
        keys.iter().find_map(|key| {
            let mut values = self.values(key).filter(|value| !value.is_empty());
            let first = values.next()?;
            let others = values.filter(|value| *value != first);
            Some(others.fold(first.into(), |all, value| format!("{all},{value}").into()))
        })
    }

    /// Whether one is called `key`, be it empty.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// All but the item `bare` of a query, which is a name without a value.
    pub(super) fn without(&self, bare: &str) -> Self {
        let (bare, _) = parse_pair(bare.as_bytes());
        let pairs = self.pairs.iter().filter(|(name, value)| *name != bare || !value.is_empty()).cloned().collect();
        Self { pairs, has_foreign_body: self.has_foreign_body }
    }

    fn values<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        self.iter().filter(move |(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl std::fmt::Debug for Parameters {
    // Values may be passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

fn pairs(encoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty())
}

fn name_and_value(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = pair.split_at(equals);
    (name, value.get(1..))
}

/// Whether this has a name, and no octet in it that JSON, XML and multipart begin with.
fn is_of_a_form(pair: &[u8]) -> bool {
    let (name, value) = name_and_value(pair);
    value.is_some() && !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && !b"{\"<".contains(byte))
}

fn parse_pair(pair: &[u8]) -> (String, String) {
    let (name, value) = name_and_value(pair);
    (decode(name).to_ascii_lowercase(), decode(value.unwrap_or_default()))
}

fn decode(encoded: &[u8]) -> String {
    let blanks: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    text(percent_decode(&blanks).collect())
}

/// Octets that are not UTF-8 are Latin-1: routers declare neither.
pub(super) fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(query: &[u8], key: &str) -> Option<String> {
        Parameters::parse(query).first_of(&[key]).map(Cow::into_owned)
    }

    #[test]
    fn what_routers_send_is_read() {
        let query = b"HOSTNAME=a.dyn.example%2Cb.dyn.example&myip=2001%3adb8::1&mx=&a+b=%zz&";
        assert_eq!(first(query, "hostname").unwrap(), "a.dyn.example,b.dyn.example");
        assert_eq!(first(query, "myip").unwrap(), "2001:db8::1");
        assert_eq!(first(query, "mx"), None, "an empty one says nothing");
        assert_eq!(first(query, "a b").unwrap(), "%zz", "an invalid escape stands for itself");
        assert_eq!(first(query, "wildcard"), None);
        assert_eq!(first(b"p=%E9", "p").unwrap(), "é", "Latin-1");
        assert_eq!(first("p=é".as_bytes(), "p").unwrap(), "é", "UTF-8");
    }

    #[test]
    fn one_that_is_given_twice_says_both() {
        let twice = Parameters::parse(b"h=a,b&u=x&h=&h=+c+&u=x").and(Parameters::of_body(b"H=d&p=1&p=2"));
        assert!(twice.list("h").eq(["a", "b", "c", "d"]));
        assert_eq!(twice.first_of(&["u"]).unwrap(), "x", "the same twice is one");
        assert_eq!(twice.first_of(&["none", "p"]).unwrap(), "1,2");
    }

    #[test]
    fn a_body_is_a_form_or_not_whatever_it_is_called() {
        for form in ["", " \r\n", "a=b", "a=b&", "a=b&&c=\r\n", "username:password=a%3Ab&a[]=1", "a=\"{<"] {
            assert!(!Parameters::of_body(form.as_bytes()).has_foreign_body(), "{form}");
        }
        for foreign in [
            "{}",
            "{\"myip\": \"203.0.113.7\"}",
            "[\"a=b\"]",
            "{\"a=b\"}",
            "203.0.113.7",
            "myip: 203.0.113.7",
            "<?xml version=\"1.0\"?>",
            "--x\r\nContent-Disposition: form-data; name=\"myip\"\r\n\r\n203.0.113.7\r\n--x--\r\n",
            "=203.0.113.7",
            "a=b&203.0.113.7",
            "\u{feff}a=b",
            "\u{1f}\u{8b}=",
        ] {
            assert!(Parameters::of_body(foreign.as_bytes()).has_foreign_body(), "{foreign}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Parameters::parse(b"password=hunter2")), r#"["password"]"#);
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets: Vec<u8>) {
            let _read = Parameters::parse(&octets).and(Parameters::of_body(&octets));
        }
    }
}
