//! The addresses of listeners: whether this machine lets anybody listen there. A port that is held may be the gateway's own.

use std::io;
use std::net::TcpListener;

use super::Finding;
use crate::config::{Config, Endpoint};

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let tls = config.http.tls.iter().flat_map(|tls| &tls.listen);
    let public = config.http.listen.iter().chain(tls).filter_map(|listener| listener.endpoint.tcp());
    let refused = |address| match TcpListener::bind(address) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let what = format!("cannot listen on {address}: {error}; {}", Endpoint::mend(address, &error));
            Some(Finding::error("cannot_listen", what, Vec::new()))
        }
        Ok(_) | Err(_) => None,
    };
    public.chain([config.admin.listen]).filter_map(refused).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_address_that_the_machine_does_not_have_is_found_and_a_held_port_is_not() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let toml = format!(
            "[http]\nlisten = [\"192.0.2.1:8245\", \"{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[[key]]\nname = \"k\"\n\
             algorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0IG9mIHRoZSB0ZXN0cw==\"\n\
             [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n",
            held.local_addr().unwrap()
        );
        let found = examine(&Config::parse(&toml, Path::new("gateway.toml")).unwrap());
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert!(found.what.starts_with("cannot listen on 192.0.2.1:8245: "), "{}", found.what);
        assert!(found.what.contains("does not have that address"), "{}", found.what);
    }
}
