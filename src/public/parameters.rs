//! Parameters of a query or a form: names in any letter case, values as octets, the first of several counts. Pure.

use percent_encoding::percent_decode;

/// The parameters of one request.
#[derive(Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `key=value&…` (application/x-www-form-urlencoded): `+` is a blank, an invalid escape stands for itself.
    pub(super) fn parse(encoded: &[u8]) -> Self {
        let pairs = encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        Self(pairs.map(parse_pair).collect())
    }

    /// Appends those of `later`, which lose against ours.
    pub(super) fn or(mut self, later: Self) -> Self {
        self.0.extend(later.0);
        self
    }

    /// The value of the first parameter called `key`, which is in lower case.
    pub(super) fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of the first of `keys` that is there and not empty.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().filter_map(|key| self.first(key)).find(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Parameters {
    // Values may be passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn parse_pair(pair: &[u8]) -> (String, String) {
    let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = pair.split_at(equals);
    (decode(name).to_ascii_lowercase(), decode(value.get(1..).unwrap_or_default()))
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

    #[test]
    fn what_routers_send_is_read() {
        let parameters =
            Parameters::parse(b"HOSTNAME=a.dyn.example%2Cb.dyn.example&myip=2001%3adb8::1&myip=x&mx=&a+b=%zz&");
        assert_eq!(parameters.first("hostname"), Some("a.dyn.example,b.dyn.example"));
        assert_eq!(parameters.first("myip"), Some("2001:db8::1"), "the first counts");
        assert_eq!(parameters.first("mx"), Some(""));
        assert_eq!(parameters.first("a b"), Some("%zz"), "an invalid escape stands for itself");
        assert_eq!(parameters.first("wildcard"), None);
        assert_eq!(Parameters::parse(b"p=%E9").first("p"), Some("é"), "Latin-1");
        assert_eq!(Parameters::parse("p=é".as_bytes()).first("p"), Some("é"), "UTF-8");
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Parameters::parse(b"password=hunter2")), r#"["password"]"#);
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets: Vec<u8>) {
            let _read = Parameters::parse(&octets);
        }
    }
}
