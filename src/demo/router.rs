//! The side of those who use the gateway: a router's request, a look at the name server, and the lines for a person to
//! type.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{HOST, LOGIN};

/// The gateway answers within its own deadline of 5 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

fn target(address: Ipv4Addr) -> String {
    format!("/nic/update?hostname={HOST}&myip={address}")
}

/// The line that does what [`update`] does; curl must not ask a proxy for 127.0.0.1.
pub(super) fn curl(gateway: SocketAddr, password: &str, address: Ipv4Addr) -> String {
    let proxies = ["http_proxy", "all_proxy", "ALL_PROXY"];
    let direct = if proxies.iter().any(|name| std::env::var_os(name).is_some()) { "--noproxy '*' " } else { "" };
    format!("curl {direct}-w '\\n' -u {LOGIN}:{password} 'http://{gateway}{}'", target(address))
}

pub(super) fn dig(server: SocketAddr) -> String {
    format!("dig +short {HOST} @{} -p {}", server.ip(), server.port())
}

/// A router's update; the body of the answer.
pub(super) async fn update(gateway: SocketAddr, password: &str, address: Ipv4Addr) -> io::Result<String> {
    let credentials = STANDARD.encode(format!("{LOGIN}:{password}"));
    let target = target(address);
    let request = format!("GET {target} HTTP/1.0\r\nHost: {gateway}\r\nAuthorization: Basic {credentials}\r\n\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(gateway).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(body.to_owned())
    };
    timeout(ANSWER_WITHIN, exchange).await?
}

/// What `dig` prints; `None` where it is not installed.
pub(super) async fn look(server: SocketAddr) -> Option<String> {
    let line = dig(server);
    let run = move || Command::new("dig").args(line.split(' ').skip(1)).output();
    let output = spawn_blocking(run).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
