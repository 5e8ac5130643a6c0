//! Compare and swap at real primaries: what puts a late UPDATE of a lost connection right changes nothing else.

use std::net::Ipv4Addr;
use std::time::Duration;

use dyngate::config::Primary;
use dyngate::dns::{Connection, Event, Rcode, Reply, RrsetUpdate, Signer, Tcp, Update, classify};
use dyngate::model::{Desired, Hostname, KeyName, RrData, RrType, TsigKey, ZoneName};
use lab::{Key, Kind, Server, Setup};
use tokio::time::{sleep, timeout};

const ZONE: &str = "dyn.example";

fn holds(last: u8) -> Vec<RrData> {
    vec![RrData::A(Ipv4Addr::new(192, 0, 2, last))]
}

async fn swapped_only_where_it_stands(kind: Kind) {
    let key = Key::generate("gateway-key");
    let server = Server::start(kind, Setup::new().key(&key).zone_with(ZONE, &["a 60 A 192.0.2.1"])).await.unwrap();
    let secret = TsigKey::new(KeyName::parse(&key.name).unwrap(), key.algorithm.parse().unwrap(), &key.secret).unwrap();
    let update = Update::new(ZoneName::parse(ZONE).unwrap(), Signer::new(secret).unwrap()).unwrap();
    let (host, port) = (server.addr().ip().to_string(), server.addr().port());
    let limit = Duration::from_secs(10);
    let (connection, mut events) = Connection::open(&Tcp, &Primary { host, port }, None, limit).await.unwrap();
    let name = Hostname::parse("a.dyn.example").unwrap();
    for (id, lost, wanted, rcode, served) in [
        (1, holds(9), holds(2), Rcode::NXRRSET, vec!["192.0.2.1"]),
        (2, vec![], holds(2), Rcode::YXRRSET, vec!["192.0.2.1"]),
        (3, holds(1), holds(2), Rcode::NOERROR, vec!["192.0.2.2"]),
        (4, holds(2), vec![], Rcode::NOERROR, vec![]),
        (5, vec![], holds(3), Rcode::NOERROR, vec!["192.0.2.3"]),
    ] {
        let desired = match wanted.first() {
            Some(data) => Desired::Set { data: data.clone(), ttl: 60 },
            None => Desired::Absent,
        };
        let change = RrsetUpdate { name: &name, rtype: RrType::A, desired: &desired };
        let mut answer = Rcode::SERVFAIL;
        // PowerDNS says so while its own start holds the SQLite file; nothing was written then.
        for _ in 0..50 {
            let signed = update.compare_and_swap(id, &lost, &change).unwrap();
            assert!(connection.send(&signed.octets));
            let Ok(Some(Event::Frame(octets))) = timeout(limit, events.recv()).await else {
                panic!("no answer to {id}")
            };
            answer = match classify(&octets, id, true, &signed.verifier) {
                Reply::Done(_) => Rcode::NOERROR,
                Reply::Failed(failure) => failure.rcode,
                other => panic!("{other:?}"),
            };
            if answer != Rcode::SERVFAIL {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(answer, rcode, "{id}");
        let addresses = server.addresses(name.as_str()).await.unwrap();
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), served, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bind_puts_a_late_update_right_only_where_it_stands() {
    swapped_only_where_it_stands(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knot_puts_a_late_update_right_only_where_it_stands() {
    swapped_only_where_it_stands(Kind::Knot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn powerdns_puts_a_late_update_right_only_where_it_stands() {
    swapped_only_where_it_stands(Kind::PowerDnsSqlite).await;
}
