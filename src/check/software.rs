//! Which name server it is, by what it calls itself: what to write into its configuration depends on it.

/// The name servers whose configuration we can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Software {
    Bind,
    Knot,
    PowerDns,
    /// It does not tell, or is another.
    Unknown,
}

impl Software {
    /// By the answer to `version.bind`; BIND gives its number alone.
    pub(super) fn of(version: Option<&str>) -> Self {
        match version {
            Some(version) if version.contains("PowerDNS") => Self::PowerDns,
            Some(version) if version.contains("Knot") => Self::Knot,
            Some(version) if version.contains("BIND") || version.starts_with("9.") => Self::Bind,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// `version` as it may be shown: a stranger wrote it.
pub(super) fn shown(version: &str) -> String {
    let known = if version.starts_with("9.") { "BIND " } else { "" };
    let number = version.split(" (").next().unwrap_or(version);
    let printable = number.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(60);
    known.chars().chain(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_told_by_its_own_words() {
        for (version, software, text) in [
            ("9.18.49-1~deb12u1-Debian", Software::Bind, "BIND 9.18.49-1~deb12u1-Debian"),
            ("Knot DNS 3.2.6", Software::Knot, "Knot DNS 3.2.6"),
            (
                "PowerDNS Authoritative Server 4.7.3 (built Jan  1 2024)",
                Software::PowerDns,
                "PowerDNS Authoritative Server 4.7.3",
            ),
            ("none of your \u{1b}[31mbusiness", Software::Unknown, "none of your [31mbusiness"),
        ] {
            assert_eq!(Software::of(Some(version)), software, "{version}");
            assert_eq!(shown(version), text);
        }
        assert_eq!(Software::of(None), Software::Unknown);
    }
}
