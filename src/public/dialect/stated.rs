//! What a request states, as the smaller dialects read it: nothing that is not understood is taken for not said. Pure.

use std::net::IpAddr;

use super::{DialectRequest, Echo};
use crate::gateway::{Asked, BadAddress};
use crate::model::{Addresses, Family, Hostname, canonical};
use crate::public::parameters::Parameters;
use crate::public::spellings::{MOST_READ, meant_by, read_address, unread};

/// The longest string of a TXT record (RFC 1035 section 3.3).
const LONGEST_TEXT: usize = 255;

/// Addresses that were given so far.
#[derive(Default)]
pub(super) struct Stated {
    addresses: Addresses,
    echo: Echo,
}

impl Stated {
    /// An address of any family.
    pub(super) fn add(&mut self, text: &str) -> Result<(), BadAddress> {
        let (address, text) = read_address(text).ok_or(BadAddress::Unparsable)?;
        self.set(address, text)
    }

    /// An address of this family.
    pub(super) fn add_of(&mut self, family: Family, text: &str) -> Result<(), BadAddress> {
        let is_of_it = read_address(text).is_some_and(|(address, _)| Family::of(address) == family);
        if is_of_it { self.add(text) } else { Err(BadAddress::Unparsable) }
    }

    /// The caller's own address, which must be of this family.
    pub(super) fn add_caller(&mut self, family: Family, caller: Option<IpAddr>) -> Result<(), BadAddress> {
        let own = caller.filter(|own| Family::of(*own) == family).ok_or(BadAddress::None)?;
        self.set(own, &own.to_string())
    }

    fn set(&mut self, address: IpAddr, text: &str) -> Result<(), BadAddress> {
        let (is_first_or_same, spelled) = match canonical(address) {
            IpAddr::V4(v4) => (*self.addresses.v4.get_or_insert(v4) == v4, &mut self.echo.v4),
            IpAddr::V6(v6) => (*self.addresses.v6.get_or_insert(v6) == v6, &mut self.echo.v6),
        };
        spelled.get_or_insert_with(|| text.to_owned());
        if is_first_or_same { Ok(()) } else { Err(BadAddress::TwoOfAFamily) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(super) fn into_asked(self) -> (Asked, Echo) {
        (Asked::of(self.addresses), self.echo)
    }
}

/// What is asked for, and what the answer says again of it.
pub(super) fn apart(read: Result<(Asked, Echo), BadAddress>) -> (Result<Asked, BadAddress>, Echo) {
    match read {
        Ok((asked, echo)) => (Ok(asked), echo),
        Err(error) => (Err(error), Echo::default()),
    }
}

/// Whether nothing but the parameters of these names is said, as far as it could matter: an address under another name, or a
/// name that is almost one of an address.
pub(super) fn understood(parameters: &Parameters, known: &[&str]) -> Result<(), BadAddress> {
    if parameters.has_foreign_body() {
        return Err(BadAddress::NotUnderstood("the body is no form"));
    }
    for (name, value) in parameters.iter().filter(|(name, _)| !known.contains(name)) {
        unread(name, value, meant_by(name))?;
    }
    Ok(())
}

/// The hosts that are listed under `name`.
pub(super) fn hosts(parameters: &Parameters, name: &str) -> Vec<String> {
    parameters.list(name).take(MOST_READ).map(str::to_owned).collect()
}

/// `true` or `false`; what is not given is `false`.
pub(super) fn flag(parameters: &Parameters, name: &str) -> Result<bool, BadAddress> {
    let mut is_set = None;
    for word in parameters.list(name) {
        let said = match word {
            word if word.eq_ignore_ascii_case("true") => true,
            word if word.eq_ignore_ascii_case("false") => false,
            _ => return Err(BadAddress::NotUnderstood("a switch is neither true nor false")),
        };
        if *is_set.get_or_insert(said) != said {
            return Err(BadAddress::Contradiction);
        }
    }
    Ok(is_set.unwrap_or_default())
}

/// What a TXT record is to hold.
pub(super) fn text(parameters: &Parameters, name: &str) -> Result<String, BadAddress> {
    let value = parameters.first_of(&[name]).unwrap_or_default();
    let is_text = (1..=LONGEST_TEXT).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_graphic());
    if is_text { Ok(value.into_owned()) } else { Err(BadAddress::NotUnderstood("the value is no TXT record's")) }
}

/// Whether this is in the words of a host name, and can be the start of one.
pub(super) fn is_of_a_name(text: &str) -> bool {
    Hostname::parse(&format!("{text}.x")).is_ok()
}

/// Whether all of these are given, be they empty.
pub(super) fn gives(request: &DialectRequest<'_>, names: &[&str]) -> bool {
    names.iter().all(|name| request.parameters.has(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_almost_said_is_not_taken_for_not_said() {
        let read = |query: &str| understood(&Parameters::parse(query.as_bytes()), &["ip", "domains"]);
        for fine in ["", "ip=x&domains=y", "ip=192.0.2.1", "timezone=UTC", "v=1.2.3"] {
            assert_eq!(read(fine), Ok(()), "{fine}");
        }
        for almost in ["myip=", "amp;ip=192.0.2.1", "myipv6=2001:db8::1"] {
            assert!(matches!(read(almost), Err(BadAddress::AlmostKnown(_))), "{almost}");
        }
        for strange in ["wan=192.0.2.1", "a=b,[2001:db8::1]", "192.0.2.1"] {
            assert!(matches!(read(strange), Err(BadAddress::NotUnderstood(_))), "{strange}");
        }
        assert!(understood(&Parameters::of_body(b"{}"), &[]).is_err());
    }

    #[test]
    fn a_switch_says_one_thing_or_nothing_is_done() {
        let read = |query: &str| flag(&Parameters::parse(query.as_bytes()), "clear");
        for (query, said) in [("", false), ("clear=", false), ("clear=false", false), ("clear=TRUE&CLEAR=true", true)] {
            assert_eq!(read(query), Ok(said), "{query}");
        }
        for query in ["clear=yes", "clear=1", "clear=true&clear=false", "clear=true,false"] {
            assert!(read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_text_record_holds_what_can_be_said_again() {
        let read = |query: &str| text(&Parameters::parse(query.as_bytes()), "txt");
        assert_eq!(read("txt=a-b_C9").as_deref(), Ok("a-b_C9"));
        assert!(read(&format!("txt={}", "a".repeat(255))).is_ok());
        for bad in ["", "txt=", "txt=a+b", "txt=a%0ab", "txt=%C3%A4", &format!("txt={}", "a".repeat(256))] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
