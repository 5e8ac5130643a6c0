//! The network behind a router: how it is written, and the addresses that hosts have in it (RFC 4291 section 2.5.1).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::Ipv6Net;

/// The lengths that a prefix may have. What an ISP delegates is a /48 to a /64; a shorter one than a registry hands out is a
/// mistake, and below /64 no host makes its own address (RFC 4862).
pub const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 16..=64;

const LOW_BITS: u128 = u64::MAX as u128;

/// The bits of a host in every network that it moves to. They may reach above the lowest 64, into the number of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceId(Ipv6Addr);

/// Why a text is no interface id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceIdError {
    /// Not in the words of RFC 4291 section 2.2.
    #[error("it is not written like an IPv6 address")]
    NotIpv6,
    /// The address of the network itself.
    #[error("it is zero")]
    Zero,
    /// Bits in the first 16: it overlaps every prefix.
    #[error("its first 16 bits are not zero, so it is a whole address")]
    WholeAddress,
}

/// What the value of a parameter for prefixes says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixText {
    /// Nothing: it is empty, or a placeholder that nobody filled.
    NotGiven,
    /// The caller's own /64.
    Auto,
    /// There is none any longer.
    Gone,
    /// It is this one; the bits below its length are zero.
    Is(Ipv6Net),
}

/// What the value of a parameter for an IPv6 address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Text {
    /// An address; it may be one that says nothing, such as `::`.
    Address(Ipv6Addr),
    /// A network alone: `2001:db8:1:2::/64`.
    Prefix(Ipv6Net),
    /// An address, and the network that it is in: `2001:db8:1:2::10/56`.
    Both(Ipv6Addr, Ipv6Net),
}

/// Neither an address nor a prefix, or a prefix of a length that none has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a prefix")]
pub struct BadPrefix;

/// The interface id has bits where the prefix has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the interface id overlaps the prefix")]
pub struct Overlaps;

impl PrefixText {
    /// Reads the value of a parameter for prefixes. Bits below the length are masked: a FRITZ!Box sends its own.
    pub fn parse(text: &str) -> Result<Self, BadPrefix> {
        let text = text.trim();
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if text.is_empty() || is("no") || text.starts_with('<') && text.ends_with('>') {
            return Ok(Self::NotGiven);
        }
        if is("auto") {
            return Ok(Self::Auto);
        }
        if text == "-" {
            return Ok(Self::Gone);
        }
        match split(text)? {
            (address, _) if address.is_unspecified() => Ok(Self::NotGiven),
            (address, Some(len)) => network(address, len).map(Self::Is),
            (address, None) if low_bits(address) == 0 => network(address, 64).map(Self::Is),
            (_, None) => Err(BadPrefix),
        }
    }
}

impl Ipv6Text {
    /// Reads the value of a parameter for an IPv6 address, with or without a length: a prefix that came in the wrong field
    /// (deSEC's grammar), and an address that tells its network (dynv6's).
    pub fn parse(text: &str) -> Result<Self, BadPrefix> {
        match split(text.trim())? {
            (address, None | Some(128)) => Ok(Self::Address(address)),
            (address, Some(_)) if address.is_unspecified() => Ok(Self::Address(address)),
            (address, Some(len)) => {
                let network = network(address, len)?;
                Ok(if low_bits(address) == 0 { Self::Prefix(network) } else { Self::Both(address, network) })
            }
        }
    }
}

impl InterfaceId {
    /// That of `address`, which has no network: 64 zero bits, and is neither `::` nor `::1`.
    #[must_use]
    pub fn of_address(address: Ipv6Addr) -> Option<Self> {
        let says_something = !address.is_unspecified() && !address.is_loopback();
        (says_something && address.to_bits() & !LOW_BITS == 0).then_some(Self(address))
    }

    /// The address that it makes in `prefix`.
    pub fn within(self, prefix: Ipv6Net) -> Result<Ipv6Addr, Overlaps> {
        let (id, mask) = (self.0.to_bits(), prefix.netmask().to_bits());
        if id & mask != 0 {
            return Err(Overlaps);
        }
        Ok(Ipv6Addr::from_bits(prefix.network().to_bits() | id))
    }
}

impl FromStr for InterfaceId {
    type Err = InterfaceIdError;

    fn from_str(text: &str) -> Result<Self, InterfaceIdError> {
        let id: Ipv6Addr = text.parse().map_err(|_| InterfaceIdError::NotIpv6)?;
        if id.is_unspecified() {
            return Err(InterfaceIdError::Zero);
        }
        if id.to_bits() >> (128 - PREFIX_LENGTHS.start()) != 0 {
            return Err(InterfaceIdError::WholeAddress);
        }
        Ok(Self(id))
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The /64 that `address` is in.
#[must_use]
pub fn network_of(address: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(address.to_bits() & !LOW_BITS), 64)
}

/// `address` in `prefix` instead: its bits below the length stay.
#[must_use]
pub fn moved(address: Ipv6Addr, prefix: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from_bits(prefix.network().to_bits() | address.to_bits() & prefix.hostmask().to_bits())
}

fn low_bits(address: Ipv6Addr) -> u128 {
    address.to_bits() & LOW_BITS
}

/// `address/len`, or an address alone.
fn split(text: &str) -> Result<(Ipv6Addr, Option<u8>), BadPrefix> {
    let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address = address.parse().map_err(|_| BadPrefix)?;
    // `u8` would take a sign.
    let number = |len: &str| len.parse().ok().filter(|_| len.bytes().all(|digit| digit.is_ascii_digit()));
    match len.map(|len| number(len).filter(|len| *len <= 128).ok_or(BadPrefix)) {
        Some(len) => Ok((address, Some(len?))),
        None => Ok((address, None)),
    }
}

fn network(address: Ipv6Addr, len: u8) -> Result<Ipv6Net, BadPrefix> {
    if !PREFIX_LENGTHS.contains(&len) {
        return Err(BadPrefix);
    }
    let network = Ipv6Net::new(address, len).map_err(|_| BadPrefix)?.trunc();
    // As `::10/64` would be.
    if network.network().is_unspecified() { Err(BadPrefix) } else { Ok(network) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn id(text: &str) -> InterfaceId {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_is_masked_and_not_refused_for_its_host_bits() {
        for (text, prefix) in [
            ("2001:db8:0:1234::/64", "2001:db8:0:1234::/64"),
            // nsupdate.info #648: a FRITZ!Box sets bits below the length.
            ("2001:db8:1:4567::/59", "2001:db8:1:4560::/59"),
            ("2001:db8:1:23ff::/56", "2001:db8:1:2300::/56"),
            ("2001:db8:1:2:3:4:5:6/56", "2001:db8:1::/56"),
            ("2001:DB8::/48", "2001:db8::/48"),
            ("2001:db8::/16", "2001::/16"),
            (" 2001:db8:1:2:: ", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(PrefixText::parse(text), Ok(PrefixText::Is(net(prefix))), "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_not_given() {
        for text in ["", " ", "no", "NO", "::", "::/0", "::/64", "<ip6lanprefix>", "<>"] {
            assert_eq!(PrefixText::parse(text), Ok(PrefixText::NotGiven), "{text:?}");
        }
        assert_eq!(PrefixText::parse("Auto"), Ok(PrefixText::Auto));
        assert_eq!(PrefixText::parse("-"), Ok(PrefixText::Gone));
    }

    #[test]
    fn what_is_no_prefix_is_bad() {
        for text in [
            "2001:db8::/65",
            "2001:db8::/128",
            "2001:db8::/129",
            "2001:db8::/15",
            "2001:db8::/0",
            "2001:db8::/-1",
            "2001:db8::/+64",
            "2001:db8::/ 64",
            "2001:db8::/",
            "2001:db8::/64/64",
            "2001:db8::1",
            "192.0.2.0/24",
            "::10/64",
            "fe80::1%eth0/64",
            "/64",
            "-1",
            "prefix",
        ] {
            assert_eq!(PrefixText::parse(text), Err(BadPrefix), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_length_is_a_prefix_or_tells_its_network() {
        let plain = |text: &str| Ok(Ipv6Text::Address(address(text)));
        for (text, is) in [
            ("2001:db8:1:2::10", plain("2001:db8:1:2::10")),
            ("2001:db8:1:2::10/128", plain("2001:db8:1:2::10")),
            ("::/0", plain("::")),
            ("2001:db8:1:2::/56", Ok(Ipv6Text::Prefix(net("2001:db8:1::/56")))),
            ("2001:db8:1:2::10/56", Ok(Ipv6Text::Both(address("2001:db8:1:2::10"), net("2001:db8:1::/56")))),
            ("2001:db8:1:2::10/65", Err(BadPrefix)),
            ("2001:db8:1:2::10/127", Err(BadPrefix)),
            ("2001:db8:1:2::10/15", Err(BadPrefix)),
            ("::10/64", Err(BadPrefix)),
            ("192.0.2.1", Err(BadPrefix)),
            ("", Err(BadPrefix)),
        ] {
            assert_eq!(Ipv6Text::parse(text), is, "{text}");
        }
    }

    #[test]
    fn an_id_is_neither_zero_nor_a_whole_address() {
        for (text, error) in [
            ("::", InterfaceIdError::Zero),
            ("10", InterfaceIdError::NotIpv6),
            ("192.0.2.1", InterfaceIdError::NotIpv6),
            ("::10/64", InterfaceIdError::NotIpv6),
            ("2001:db8::10", InterfaceIdError::WholeAddress),
        ] {
            assert_eq!(text.parse::<InterfaceId>(), Err(error), "{text}");
        }
        assert_eq!(id("::A:0:0:10").to_string(), "::a:0:0:10");
        assert_eq!(InterfaceId::of_address(address("::10")), Some(id("::10")));
        for text in ["::", "::1", "0:0:0:1::1", "2001:db8::1"] {
            assert_eq!(InterfaceId::of_address(address(text)), None, "{text}");
        }
    }

    #[test]
    fn an_id_may_hold_the_number_of_a_subnet() {
        let prefix = net("2001:db8:1:2300::/56");
        assert_eq!(id("::10").within(prefix), Ok(address("2001:db8:1:2300::10")));
        assert_eq!(id("0:0:0:3::10").within(prefix), Ok(address("2001:db8:1:2303::10")));
        assert_eq!(id("0:0:0:3::10").within(net("2001:db8:1:2300::/64")), Err(Overlaps));
        assert_eq!(id("0:0:0:100::10").within(prefix), Err(Overlaps));
        assert_eq!(moved(address("2001:db8:9:9923::10"), prefix), address("2001:db8:1:2323::10"));
        assert_eq!(network_of(address("2001:db8:9:9923::10")), net("2001:db8:9:9923::/64"));
    }

    proptest! {
        #[test]
        fn whatever_is_composed_lies_in_the_prefix_and_keeps_the_id(bits: u128, len in 0_u8..=130, id_bits: u128, shift in 0_u32..128) {
            let text = format!("{}/{len}", Ipv6Addr::from_bits(bits));
            let parsed = PrefixText::parse(&text);
            let fits = PREFIX_LENGTHS.contains(&len);
            prop_assert!(fits || matches!(parsed, Err(BadPrefix) | Ok(PrefixText::NotGiven)));
            if let (Ok(PrefixText::Is(prefix)), Ok(id)) = (parsed, Ipv6Addr::from_bits(id_bits >> shift).to_string().parse::<InterfaceId>()) {
                prop_assert_eq!(prefix.prefix_len(), len);
                prop_assert_eq!(prefix, prefix.trunc());
                prop_assert!(prefix.contains(&Ipv6Addr::from_bits(bits)));
                match id.within(prefix) {
                    Ok(address) => {
                        prop_assert!(prefix.contains(&address));
                        prop_assert_eq!(address.to_bits() & prefix.hostmask().to_bits(), id.0.to_bits());
                        prop_assert_eq!(moved(address, prefix), address);
                    }
                    Err(Overlaps) => prop_assert!(id.0.to_bits() & prefix.netmask().to_bits() != 0),
                }
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}") {
            let _parsed = (PrefixText::parse(&text), Ipv6Text::parse(&text), text.parse::<InterfaceId>());
        }
    }
}
