//! Compare and swap at real primaries: what puts a late UPDATE of a lost connection right changes nothing else.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use dyngate::config::Primary;
use dyngate::dns::{Event, Exchange, Pool, Rcode, RrsetUpdate, Signer, Tcp, Update};
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
    let update = Update::new(ZoneName::parse(ZONE).unwrap(), Signer::new(&secret).unwrap()).unwrap();
    let (host, port) = (server.addr().ip().to_string(), server.addr().port());
    let limit = Duration::from_secs(10);
    let mut exchange = Exchange::default();
    exchange.open(&Pool::new(Arc::new(Tcp)), Primary { host, port }, None, limit);
    assert!(matches!(exchange.next().await, Event::Opened));
    let name = Hostname::parse("a.dyn.example").unwrap();
    for (step, lost, wanted, rcode, served) in [
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
            let id = exchange.fresh_id();
            exchange.send(step, update.compare_and_swap(id, &lost, &change).unwrap());
            answer = match timeout(limit, exchange.next()).await.unwrap() {
                Event::Answer(_, Ok(_)) => Rcode::NOERROR,
                Event::Answer(_, Err(failure)) => failure.rcode,
                other => panic!("{other:?}"),
            };
            if answer != Rcode::SERVFAIL {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(answer, rcode, "{step}");
        let addresses = server.addresses(name.as_str()).await.unwrap();
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), served, "{step}");
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
