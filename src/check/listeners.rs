//! The addresses of listeners: whether this machine lets anybody listen there. A port that is held may be the gateway's own.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::Finding;
use crate::config::{Config, Endpoint};

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let tls = config.http.tls.iter().flat_map(|tls| &tls.listen);
    let public = config.http.listen.iter().chain(tls).map(|listener| listener.endpoint.clone());
    let refused = |endpoint: Endpoint| {
        let why = match &endpoint {
            Endpoint::Tcp(address) => match TcpListener::bind(address) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    format!("{error}; {}", Endpoint::mend(*address, &error))
                }
                Ok(_) | Err(_) => return None,
            },
            Endpoint::Unix(path) if !path.parent().is_some_and(Path::is_dir) => {
                "its folder does not exist; make it".to_owned()
            }
            Endpoint::Unix(path) if path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket()) => {
                "there is something that is not a socket; remove it, or choose another path".to_owned()
            }
            Endpoint::Unix(_) | Endpoint::Systemd(_) => return None,
        };
        Some(Finding::error("cannot_listen", format!("cannot listen on {endpoint}: {why}"), Vec::new()))
    };
    public.chain([Endpoint::Tcp(config.admin.listen)]).filter_map(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listened_on_is_found_and_a_held_port_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let toml = format!(
            "[http]\nlisten = [\"192.0.2.1:8245\", \"{}\", \"unix:{}\", \"unix:{}/none/s\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[[key]]\nname = \"k\"\n\
             algorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0IG9mIHRoZSB0ZXN0cw==\"\n\
             [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n",
            held.local_addr().unwrap(),
            file.display(),
            folder.path().display()
        );
        let found = examine(&Config::parse(&toml, Path::new("gateway.toml")).unwrap());
        let texts: Vec<_> = found.iter().map(|found| found.what.as_str()).collect();
        let [address, socket, nowhere] = texts.as_slice() else { panic!("{texts:?}") };
        assert!(address.starts_with("cannot listen on 192.0.2.1:8245: "), "{address}");
        assert!(address.contains("does not have that address"), "{address}");
        assert!(socket.contains("not a socket") && nowhere.contains("folder does not exist"), "{texts:?}");
    }
}
