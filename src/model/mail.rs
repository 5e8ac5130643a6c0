//! The MX records of a host, as Dyn's update API says them: `mx` names a server for its mail, and `backmx` makes that one the
//! second choice, after the host itself.

use super::{Hostname, MailExchange, RrData, Several};

/// Of the servers that a request names, and of the host itself before them.
const PREFERENCE: u16 = 10;
const PREFERENCE_OF_HOST: u16 = 5;

/// What the MX RRset of `host` holds with these servers, before which it takes its mail itself where they are a backup; `None`
/// without any.
#[must_use]
pub fn mail_exchanges<'m>(
    host: &Hostname,
    servers: impl IntoIterator<Item = &'m Hostname>,
    are_backup: bool,
) -> Option<RrData> {
    let of_server = |exchange: &Hostname| MailExchange { preference: PREFERENCE, exchange: exchange.clone() };
    let servers = Several::new(servers.into_iter().map(of_server)).map(RrData::Mx)?;
    if !are_backup {
        return Some(servers);
    }
    let own = MailExchange { preference: PREFERENCE_OF_HOST, exchange: host.clone() };
    servers.and(&RrData::Mx(Several::new([own])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_comes_after_the_host_itself() {
        let name = |text: &str| Hostname::parse(text).unwrap();
        let (host, mail) = (name("home.dyn.example"), [name("mail.example"), name("mx2.example")]);
        let text =
            |are_backup, servers: &[Hostname]| mail_exchanges(&host, servers, are_backup).map(|data| data.to_string());
        assert_eq!(text(false, &mail).as_deref(), Some("10 mail.example\n10 mx2.example"));
        assert_eq!(text(true, &mail[..1]).as_deref(), Some("5 home.dyn.example\n10 mail.example"));
        assert_eq!(text(true, &[]), None);
    }
}
