//! Targets for what strangers and proxies send before a request is understood: forwarding headers and the PROXY header.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::body::Body;
use hyper::header::HeaderValue;
use hyper::service::Service;
use hyper::{HeaderMap, Request, Response};
use tokio::io::DuplexStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::proxy_protocol::{self, Header};
use super::server::{self, BoxError, read_proxy_header};
use super::{ClientAddress, Peer, Proxies, RequestBody, Unreadable};
use crate::config::ForwardingHeader;
use crate::model::canonical;

/// Runs `future` on a runtime that this thread keeps.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    thread_local!(static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) });
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                panic!("no runtime");
            };
            runtime
        });
        runtime.block_on(future)
    })
}

/// The requests of a connection, as a listener has them answered.
pub(crate) async fn converse<S, B>(stream: DuplexStream, peer: Peer, service: S, unreadable: Unreadable)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let (_stop, stopped) = watch::channel(false);
    server::converse(stream, peer, service, Some(&unreadable), stopped).await;
}

/// One octet that chooses the header, then its lines. A peer that is not trusted cannot name another address, and
/// what the proxy appends counts, whatever stands before it.
pub fn forwarding(octets: &[u8]) {
    let Some((choice, lines)) = octets.split_first() else { return };
    let (header, name, ours) = match choice % 2 {
        0 => (ForwardingHeader::XForwardedFor, "x-forwarded-for", "203.0.113.9"),
        _ => (ForwardingHeader::Forwarded, "forwarded", "for=203.0.113.9"),
    };
    let mut headers = HeaderMap::new();
    let mut appended = HeaderMap::new();
    for line in lines.split(|octet| *octet == b'\n') {
        let with_ours = [line, b", ", ours.as_bytes()].concat();
        if let (Ok(value), Ok(with_ours)) = (HeaderValue::from_bytes(line), HeaderValue::from_bytes(&with_ours)) {
            headers.append(name, value);
            appended.append(name, with_ours);
        }
    }
    let [proxy, stranger] = ["127.0.0.1", "198.51.100.1"].map(str::parse::<IpAddr>);
    let (Ok(proxy), Ok(stranger)) = (proxy, stranger) else { return };
    let trusted = ["127.0.0.0/8", "10.0.0.0/8"].iter().filter_map(|network| network.parse().ok()).collect();
    let proxies = Proxies { trusted, unix: false, header };
    let [proxy_peer, stranger_peer] = [proxy, stranger].map(|address| Peer::Ip(SocketAddr::new(address, 4711)));

    assert_eq!(proxies.client(stranger_peer, &headers), ClientAddress { source: stranger, address: Some(stranger) });
    let client = proxies.client(proxy_peer, &headers);
    assert!(client.address.is_none_or(|address| address == client.source));
    assert_eq!(client.source, canonical(client.source));
    if !headers.is_empty() {
        let certain = Some(CLIENT);
        assert_eq!(proxies.client(proxy_peer, &appended).address, certain, "the proxy appends to the client's line");
        headers.append(name, HeaderValue::from_static(ours));
        assert_eq!(proxies.client(proxy_peer, &headers).address, certain, "the proxy adds a line of its own");
    }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// One octet, odd where the signature is put before the rest; then what a proxy sends. What is read ends where the header
/// ends, says the same however little of it has come, and names the address that stands there.
pub fn proxy_header(octets: &[u8]) {
    let Some((choice, rest)) = octets.split_first() else { return };
    let signature: &[u8] = if choice % 2 == 1 { &proxy_protocol::SIGNATURE } else { &[] };
    let octets = [signature, rest].concat();

    let mut stream = octets.as_slice();
    let read = block_on(read_proxy_header(&mut stream));
    let taken = octets.len() - stream.len();
    assert!(taken <= proxy_protocol::LONGEST, "{taken} octets");
    let whole = proxy_protocol::parse(octets.get(..taken).unwrap_or_default());
    assert_eq!(proxy_protocol::parse(&octets), whole, "what follows the header changes it");
    match whole {
        Ok(Header::More(_)) => assert!(read.is_err() && stream.is_empty(), "a header was cut off"),
        Ok(Header::Local) => assert_eq!(read.ok(), Some(None)),
        Ok(Header::Client(peer)) => {
            assert_eq!(read.ok(), Some(Some(peer)));
            assert!(peer.ip() == stated(&octets) && peer != Peer::Unix, "{peer}");
        }
        Err(error) => assert!(read.is_err() && !error.to_string().is_empty()),
    }
    for length in 0..taken {
        match proxy_protocol::parse(octets.get(..length).unwrap_or_default()) {
            // What is wrong may be seen before all that is waited for has come, and is then wrong for good.
            Ok(Header::More(more)) => assert!(more > 0 && (length + more <= taken || stream.is_empty())),
            early => assert!(early.is_err() && whole.is_err(), "{early:?} of {length} octets, {whole:?} of {taken}"),
        }
    }
}

/// The address in a header that is whole, by the table of the specification.
fn stated(octets: &[u8]) -> Option<IpAddr> {
    let at = |length: usize| octets.get(16..16 + length);
    let address: Option<IpAddr> = match octets.get(13)? {
        0x11 => at(4).and_then(|four| Some(<[u8; 4]>::try_from(four).ok()?.into())),
        0x21 => at(16).and_then(|sixteen| Some(<[u8; 16]>::try_from(sixteen).ok()?.into())),
        _ => None,
    };
    address.map(canonical)
}
