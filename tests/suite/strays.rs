//! What undoes a late message of a lost connection, at real primaries: a change under the condition of what stands there.

use std::net::Ipv4Addr;
use std::time::Duration;

use dyngate::config::Primary;
use dyngate::dns::{Connection, Event, Rcode, Reply, RrsetWrite, Signer, Tcp, Update, classify};
use dyngate::model::{Change, Hostname, KeyName, Records, TsigKey, ZoneName};
use lab::{Key, Kind, Server, Setup};
use tokio::time::{sleep, timeout};

const ZONE: &str = "dyn.example";

fn holds(last: u8) -> Records {
    Records { v4: Change::Set(Ipv4Addr::new(192, 0, 2, last)), v6: Change::Leave }
}

async fn undone_only_where_it_stands(kind: Kind) {
    let key = Key::generate("gateway-key");
    let server = Server::start(kind, Setup::new().key(&key).zone_with(ZONE, &["a 60 A 192.0.2.1"])).await.unwrap();
    let secret = TsigKey::new(KeyName::parse(&key.name).unwrap(), key.algorithm.parse().unwrap(), &key.secret).unwrap();
    let update = Update::new(ZoneName::parse(ZONE).unwrap(), Signer::new(secret).unwrap()).unwrap();
    let (host, port) = (server.addr().ip().to_string(), server.addr().port());
    let limit = Duration::from_secs(10);
    let (connection, mut events) = Connection::open(&Tcp, &Primary { host, port }, None, limit).await.unwrap();
    let name = Hostname::parse("a.dyn.example").unwrap();
    let gone = Records { v4: Change::Remove, v6: Change::Leave };
    for (id, lost, wanted, rcode, served) in [
        (1, holds(9), holds(2), Rcode::NXRRSET, vec!["192.0.2.1"]),
        (2, gone, holds(2), Rcode::YXRRSET, vec!["192.0.2.1"]),
        (3, holds(1), holds(2), Rcode::NOERROR, vec!["192.0.2.2"]),
        (4, holds(2), gone, Rcode::NOERROR, vec![]),
        (5, gone, holds(3), Rcode::NOERROR, vec!["192.0.2.3"]),
    ] {
        let write = RrsetWrite { name: &name, records: wanted, ttl_v4: 60, ttl_v6: 60 };
        let mut answer = Rcode::SERVFAIL;
        // PowerDNS says so while its own start holds the SQLite file; nothing was written then.
        for _ in 0..50 {
            let signed = update.replace_where(id, lost, &write).unwrap();
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
async fn bind_undoes_a_stray_only_where_it_stands() {
    undone_only_where_it_stands(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knot_undoes_a_stray_only_where_it_stands() {
    undone_only_where_it_stands(Kind::Knot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn powerdns_undoes_a_stray_only_where_it_stands() {
    undone_only_where_it_stands(Kind::PowerDnsSqlite).await;
}
