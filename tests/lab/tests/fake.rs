//! Each action of the fake primary, seen with hickory's own verifier.

#![expect(clippy::expect_used, reason = "a test reports by its panic")]

use std::io;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, RData, Record, RecordType, TSigner};
use lab::fake::{Action, FakePrimary};
use lab::{Error, Key};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const MINUTE: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// One connection to a fake.
struct Client {
    stream: TcpStream,
    signer: TSigner,
}

impl Client {
    async fn open(fake: &FakePrimary, key: &Key) -> io::Result<Self> {
        let secret = STANDARD.decode(&key.secret).expect("base64");
        let signer = TSigner::new(secret, TsigAlgorithm::HmacSha256, name(&key.name), 300).expect("a key");
        Ok(Self { stream: TcpStream::connect(fake.addr()).await?, signer })
    }

    /// Sends an UPDATE of `host` and returns the MAC of its signature.
    async fn update(&mut self, id: u16, host: &str) -> io::Result<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        message.add_query(Query::query(name("dyn.example."), RecordType::SOA));
        message.add_authority(Record::from_rdata(name(host), 60, RData::A(A::new(192, 0, 2, 1))));
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        message.finalize(&self.signer, now).expect("it signs");
        let octets = message.to_vec().expect("it encodes");
        self.stream.write_u16(u16::try_from(octets.len()).expect("short")).await?;
        self.stream.write_all(&octets).await?;
        Ok(message.signature.expect("it is signed").data.mac)
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u16().await?;
        let mut octets = vec![0; usize::from(length)];
        self.stream.read_exact(&mut octets).await?;
        Ok(octets)
    }

    /// The answer to one UPDATE, and whether its signature holds.
    async fn ask(&mut self) -> io::Result<(Message, bool)> {
        let mac = self.update(7, "home.dyn.example.").await?;
        let octets = self.read().await?;
        let verified = self.signer.verify_message_byte(&octets, Some(&mac), true).is_ok();
        Ok((Message::from_vec(&octets).expect("a message"), verified))
    }
}

async fn scripted(action: Action) -> Result<(FakePrimary, Client), Error> {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, move |_| action.clone()).await?;
    let client = Client::open(&fake, &key).await.expect("it listens");
    Ok((fake, client))
}

#[tokio::test]
async fn answers_are_signed_over_the_request() -> Result<(), Error> {
    for action in [
        Action::Answer(ResponseCode::Refused),
        Action::AnswerAfter(Duration::from_millis(20), ResponseCode::Refused),
        Action::Bytewise(ResponseCode::Refused),
    ] {
        let (fake, mut client) = scripted(action).await?;
        let (answer, verified) = client.ask().await.expect("an answer");
        assert!(verified);
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (7, ResponseCode::Refused));
        assert_eq!((answer.metadata.message_type, answer.metadata.op_code), (MessageType::Response, OpCode::Update));
        let received = fake.wait_for(1, MINUTE).await?;
        assert_eq!((received[0].connection, received[0].number, received[0].id), (0, 0, 7));
        assert_eq!((received[0].zone.as_str(), received[0].opcode), ("dyn.example", OpCode::Update));
        assert_eq!(received[0].owners, ["home.dyn.example"]);
        assert!(received[0].signed && received[0].verified);
    }
    Ok(())
}

#[tokio::test]
async fn false_answers_are_false_in_just_one_way() -> Result<(), Error> {
    let (_fake, mut client) = scripted(Action::Unsigned(ResponseCode::NoError)).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    assert!(!verified && answer.signature.is_none());
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);

    let (_fake, mut client) = scripted(Action::WrongId(ResponseCode::NoError)).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    assert!(verified && answer.metadata.id != 7);

    let (_fake, mut client) = scripted(Action::WrongMac).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    assert!(!verified && answer.signature.is_some_and(|tsig| tsig.data.mac.len() == 32));

    let (_fake, mut client) = scripted(Action::TruncatedBit).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    assert!(verified && answer.metadata.truncation);
    Ok(())
}

#[tokio::test]
async fn tsig_errors_are_as_servers_send_them() -> Result<(), Error> {
    for (action, expected) in [(Action::BadKey, TsigError::BadKey), (Action::BadSig, TsigError::BadSig)] {
        let (_fake, mut client) = scripted(action).await?;
        let (answer, verified) = client.ask().await.expect("an answer");
        let tsig = answer.signature.expect("a TSIG").data;
        assert!(!verified && tsig.mac.is_empty());
        assert_eq!((answer.metadata.response_code, tsig.error), (ResponseCode::NotAuth, Some(expected)));
    }
    let (_fake, mut client) = scripted(Action::BadTime(3600)).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    let tsig = answer.signature.expect("a TSIG").data;
    assert!(verified);
    assert_eq!((answer.metadata.response_code, tsig.error), (ResponseCode::NotAuth, Some(TsigError::BadTime)));
    let server = tsig.other.iter().fold(0, |time, &octet| time << 8 | u64::from(octet));
    assert!((3598..=3602).contains(&(server - tsig.time)), "{server}");
    Ok(())
}

#[tokio::test]
async fn broken_frames_are_broken() -> Result<(), Error> {
    let (_fake, mut client) = scripted(Action::Garbage(b"HTTP/1.1 400".to_vec())).await?;
    client.update(1, "a.dyn.example.").await.expect("sent");
    let mut octets = [0; 12];
    client.stream.read_exact(&mut octets).await.expect("garbage");
    assert_eq!(&octets, b"HTTP/1.1 400");

    let (_fake, mut client) = scripted(Action::Frame(vec![1, 2, 3])).await?;
    client.update(1, "a.dyn.example.").await.expect("sent");
    assert_eq!(client.read().await.expect("a frame"), [1, 2, 3]);

    for action in [Action::Truncated, Action::Drop] {
        let (_fake, mut client) = scripted(action).await?;
        client.update(1, "a.dyn.example.").await.expect("sent");
        assert_eq!(client.read().await.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
    }
    let (_fake, mut client) = scripted(Action::Silent).await?;
    client.update(1, "a.dyn.example.").await.expect("sent");
    assert!(timeout(Duration::from_millis(100), client.read()).await.is_err(), "it is silent");
    Ok(())
}

#[tokio::test]
async fn records_answer_a_question_and_several_actions_follow_each_other() -> Result<(), Error> {
    let record = Record::from_rdata(name("home.dyn.example."), 60, RData::A(A::new(192, 0, 2, 7)));
    let (_fake, mut client) = scripted(Action::Records(vec![record.clone()])).await?;
    let (answer, verified) = client.ask().await.expect("an answer");
    assert!(verified && answer.metadata.authoritative);
    assert_eq!(answer.answers, [record]);

    let both = vec![Action::Unsigned(ResponseCode::NoError), Action::Answer(ResponseCode::NoError)];
    let (_fake, mut client) = scripted(Action::All(both)).await?;
    assert!(!client.ask().await.expect("the first").1);
    let octets = client.read().await.expect("the second");
    assert!(Message::from_vec(&octets).expect("a message").signature.is_some());
    Ok(())
}

#[tokio::test]
async fn a_delayed_answer_is_overtaken_and_the_script_can_change() -> Result<(), Error> {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, |received| match received.number_here {
        0 => Action::AnswerAfter(Duration::from_millis(200), ResponseCode::NoError),
        _ => Action::Answer(ResponseCode::ServFail),
    })
    .await?;
    let mut client = Client::open(&fake, &key).await.expect("it listens");
    for (id, host) in [(1, "a.dyn.example."), (2, "B.dyn.example.")] {
        client.update(id, host).await.expect("sent");
    }
    let ids = [client.read().await.expect("one"), client.read().await.expect("two")].map(|octets| octets[1]);
    assert_eq!(ids, [2, 1]);
    let received = fake.received();
    assert_eq!((received[1].number_here, received[1].owners[0].as_str()), (1, "b.dyn.example"));
    fake.script(|_| Action::Drop);
    assert!(client.ask().await.is_err());
    Ok(())
}

#[tokio::test]
async fn it_goes_away_and_comes_back() -> Result<(), Error> {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::NoError)).await?;
    let mut client = Client::open(&fake, &key).await.expect("it listens");
    assert!(client.ask().await.expect("an answer").1);
    fake.stop_listening().await;
    assert!(Client::open(&fake, &key).await.is_err(), "nobody listens");
    assert!(client.ask().await.expect("open connections stay").1);
    fake.close_connections().await;
    assert!(client.ask().await.is_err(), "they are closed");
    fake.listen_again().await?;
    assert!(Client::open(&fake, &key).await.expect("it listens").ask().await.expect("an answer").1);
    assert_eq!(fake.connections(), 2);

    fake.half_open(true);
    let mut client = Client::open(&fake, &key).await.expect("it accepts");
    let seen = fake.received().len();
    assert!(timeout(Duration::from_millis(100), client.ask()).await.is_err(), "it never reads");
    assert_eq!(fake.received().len(), seen);
    assert!(fake.wait_for(seen + 1, Duration::from_millis(10)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_stranger_is_noticed() -> Result<(), Error> {
    let (fake, _client) = scripted(Action::Answer(ResponseCode::NoError)).await?;
    let mut stranger = Client::open(&fake, &Key::generate("gateway-key")).await.expect("it listens");
    assert!(!stranger.ask().await.expect("an answer").1);
    assert!(fake.received()[0].signed && !fake.received()[0].verified);
    Ok(())
}
