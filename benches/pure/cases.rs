//! The pure parts, ready to be run again and again: each case is made once and then does the same work each time. What is
//! measured is public in the library, but for the zone queue, which has a door for this bench (`src/engine/measuring.rs`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dyngate::auth::{Authenticator, Credentials, LoginSubject, LoginVerdict};
use dyngate::config::{Config, Dialects, ForwardingHeader};
use dyngate::dns::{EncodeError, Reply, RrsetUpdate, Signer, Update, Verifier, classify};
use dyngate::engine::measuring::{Coalesced, Coalescing};
use dyngate::engine::{Change, Keep, Origin};
use dyngate::gateway::Gateway;
use dyngate::limit::Limits;
use dyngate::metrics::Metrics;
use dyngate::model::{
    Desired, DesiredRecords, Hostname, KeyName, PasswordDigest, RrData, RrType, Timestamp, TsigKey, ZoneName,
};
use dyngate::net::{Peer, Proxies, RequestBody};
use dyngate::public::Public;
use dyngate::registry::Registry;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{Name, TSigner};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const SECRET: &str = "c2VjcmV0IG9mIHRoZSBiZW5jaCwgMzIgb2N0ZXRzISE=";
/// "password", of argon2's own test vectors: it is hashed once, then the credentials are known.
const PHC: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn runtime() -> Runtime {
    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// A request's octets to the octets of its answer, without a socket: HTTP, dialect, credentials, limits, name, answer. The
/// name is none, so that no primary is needed.
pub(crate) struct Request {
    runtime: Runtime,
    client: DuplexStream,
    answer: Vec<u8>,
}

impl Request {
    const OCTETS: &[u8] = b"GET /nic/update?hostname=no_fqdn&myip=203.0.113.7 HTTP/1.1\r\nHost: 127.0.0.1:8245\r\n\
        User-Agent: ddclient/3.10.0\r\nAuthorization: Basic cm91dGVyMTpwYXNzd29yZA==\r\n\r\n";

    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn new() -> Self {
        let runtime = runtime();
        let (client, server) = tokio::io::duplex(64 * 1024);
        let _inside = runtime.enter();
        let toml = format!(
            "[limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\n\
             [[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"{SECRET}\"\n\
             [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n\
             [[account]]\nlogin = \"router1\"\nsecret = \"$sha256$XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=\"\n\
             hosts = [\"*.dyn.example\"]\n"
        );
        let config = Config::parse(&toml, Path::new("gateway.toml")).expect("the configuration is right");
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let authenticator = Authenticator::new(1).expect("randomness");
        let limits = Limits::new(&config.limits, metrics.clone());
        let registry = Registry::declared(&config);
        let gateway = Gateway::new(registry, authenticator, limits, [], metrics.clone(), &config.engine);
        let proxies = Arc::new(Proxies { trusted: vec![], unix: false, header: ForwardingHeader::XForwardedFor });
        let public = Arc::new(Public::new(Arc::new(gateway), proxies, Dialects::default(), &metrics));
        let peer = Peer::Ip(([203, 0, 113, 7], 40_000).into());
        runtime.spawn(async move {
            let (_never, stop) = tokio::sync::watch::channel(false);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let public = Arc::clone(&public);
                let request = request.map(|body| RequestBody::new(body, &stop));
                async move { Ok::<_, std::convert::Infallible>(public.answer(peer, request).await) }
            });
            http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(server), service).await
        });
        let mut request = Self { runtime, client, answer: Vec::with_capacity(1024) };
        request.run();
        assert!(request.answer.ends_with(b"\r\n\r\nnotfqdn"), "{}", String::from_utf8_lossy(&request.answer));
        request
    }

    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn run(&mut self) -> usize {
        let Self { runtime, client, answer } = self;
        answer.clear();
        runtime.block_on(async {
            client.write_all(Self::OCTETS).await.expect("the server reads");
            client.read_buf(answer).await.expect("the server answers")
        })
    }
}

/// The verification of credentials that were right before.
pub(crate) struct Known {
    runtime: Runtime,
    authenticator: Authenticator,
    subject: LoginSubject,
    credentials: Credentials,
}

impl Known {
    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn new() -> Self {
        let digest = PasswordDigest::parse(PHC).expect("a PHC string");
        let subject = LoginSubject::Known { login: "router1".into(), secrets: vec![digest] };
        let authenticator = Authenticator::new(1).expect("randomness");
        let credentials = Credentials::new("router1".to_owned(), "password".to_owned());
        let known = Self { runtime: runtime(), subject, authenticator, credentials };
        assert!(known.run(), "the credentials are right");
        known
    }

    pub(crate) fn run(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        let verdict =
            self.runtime.block_on(self.authenticator.verify(&self.credentials, &self.subject, |_| Ok(()), deadline));
        matches!(verdict, LoginVerdict::Known(_))
    }
}

#[expect(clippy::expect_used, reason = "nothing can be measured without it")]
fn update() -> Update {
    let name = KeyName::parse("k").expect("a name");
    let key = TsigKey::new(name, "hmac-sha256".parse().expect("an algorithm"), SECRET).expect("a key");
    Update::new(ZoneName::parse("dyn.example").expect("a zone"), Signer::new(&key).expect("a signer")).expect("an apex")
}

#[expect(clippy::expect_used, reason = "nothing can be measured without it")]
fn host(number: usize) -> Hostname {
    Hostname::parse(&format!("h{number}.dyn.example")).expect("a name")
}

/// A thousand changes that come together, as many for each of some names, to the answer of each: which are superseded, what
/// travels together, who is told what. Nothing is encoded, and the primary says yes.
pub(crate) struct Coalesce {
    coalescing: Coalescing,
    changes: Vec<Change>,
}

impl Coalesce {
    const CHANGES: usize = 1000;

    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn new(names: usize) -> Self {
        let (account, keep) = (Arc::from("router1"), Keep::WithCaller);
        let origin = Arc::new(Origin { account, client: None, accepted: Timestamp(0), keep });
        let change = |n| {
            let address = [203, 0, 113, u8::try_from(n / names).expect("few for each name")];
            let desired = Desired::Set { data: RrData::A(address.into()), ttl: 60 };
            let records = DesiredRecords::from_iter([(RrType::A, desired)]);
            Change { name: host(n % names), records, origin: Arc::clone(&origin) }
        };
        let mut coalesce = Self { coalescing: Coalescing::new(), changes: (0..Self::CHANGES).map(change).collect() };
        // Until the size of messages has settled.
        for _ in 0..50 {
            coalesce.run();
        }
        let Coalesced { rrsets, answered, superseded, .. } = coalesce.run();
        assert_eq!((rrsets, answered, superseded), (names, Self::CHANGES, Self::CHANGES - names), "the newest travel");
        coalesce
    }

    pub(crate) fn run(&mut self) -> Coalesced {
        self.coalescing.run(&self.changes)
    }
}

/// The encoding and signing of some hosts, in one UPDATE or in the fewest that they fit.
pub(crate) struct Encode {
    update: Update,
    hosts: Vec<Hostname>,
    // In one message; the last one may hold fewer.
    together: usize,
}

impl Encode {
    pub(crate) fn new(hosts: usize) -> Self {
        let mut encode = Self { update: update(), hosts: (0..hosts).map(host).collect(), together: hosts };
        let mut messages = 1;
        while encode.together > 1 && encode.encode().is_err() {
            messages += 1;
            encode.together = hosts.div_ceil(messages);
        }
        encode
    }

    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn run(&self) -> usize {
        self.encode().expect("they fit")
    }

    /// The octets of all messages.
    fn encode(&self) -> Result<usize, EncodeError> {
        let desired = Desired::Set { data: RrData::A([203, 0, 113, 7].into()), ttl: 60 };
        let message = |hosts: &[Hostname]| {
            let update = |name| RrsetUpdate { name, rtype: RrType::A, desired: &desired };
            let updates: Vec<_> = hosts.iter().map(update).collect();
            self.update.replace(7, &updates).map(|signed| signed.octets.len())
        };
        self.hosts.chunks(self.together).map(message).sum()
    }
}

/// The weighing of a signed NOERROR.
pub(crate) struct Classify {
    octets: Vec<u8>,
    verifier: Verifier,
}

impl Classify {
    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub(crate) fn new() -> Self {
        let request = update().probe(7).expect("a probe");
        let asked = Message::from_vec(&request.octets).expect("it parses");
        let mac = asked.signature().expect("it is signed").data.mac.clone();
        let mut reply = Message::new(7, MessageType::Response, OpCode::Update);
        reply.queries.clone_from(&asked.queries);
        let classify = Self { octets: sign(&reply, &mac), verifier: request.verifier };
        assert!(classify.run(), "the reply is signed right");
        classify
    }

    pub(crate) fn run(&self) -> bool {
        matches!(classify(&self.octets, &self.verifier), Reply::Done(_))
    }
}

/// What a primary sends: RFC 8945 section 5.3, the request's MAC goes before the message.
#[expect(clippy::expect_used, reason = "nothing can be measured without it")]
fn sign(reply: &Message, request_mac: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::STANDARD.decode(SECRET).expect("base64");
    let name = Name::from_ascii("k.").expect("a name");
    let signer = TSigner::new(secret, TsigAlgorithm::HmacSha256, name.clone(), 300).expect("a signer");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stub = TSIG::new(TsigAlgorithm::HmacSha256, now, 300, vec![], reply.id, None, vec![]);
    let mut octets = reply.to_vec().expect("it fits");
    let mut covered = u16::try_from(request_mac.len()).expect("short").to_be_bytes().to_vec();
    covered.extend_from_slice(request_mac);
    covered.extend_from_slice(&octets);
    let mut variables = vec![];
    stub.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name).expect("it fits");
    covered.extend(variables);
    let mac = signer.sign(&covered).expect("it can be signed");
    let mut tail = vec![];
    make_tsig_record(name, stub.set_mac(mac)).emit(&mut BinEncoder::new(&mut tail)).expect("it fits");
    octets.extend(tail);
    octets[11] = 1;
    octets
}
