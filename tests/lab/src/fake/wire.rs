//! One connection of the fake: frames in, the script's actions out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::reply::Reply;
use super::{Action, Received, Shared, lock};

type Writer = Arc<Mutex<OwnedWriteHalf>>;

/// Serves a connection until either side closes it; delayed answers end with it.
pub(super) async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let mut later = JoinSet::new();
    let mut number_here = 0;
    while let Ok(raw) = frame(&mut reader).await {
        let received = note(&shared, connection, number_here, raw);
        number_here += 1;
        let action = (lock(&shared.script))(&received);
        if !act(&shared, &received, action, &writer, &mut later).await {
            break;
        }
    }
}

async fn frame(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = reader.read_u16().await?;
    let mut raw = vec![0; usize::from(length)];
    reader.read_exact(&mut raw).await?;
    Ok(raw)
}

/// Reads what scripts want to know and keeps it in the log.
fn note(shared: &Shared, connection: usize, number_here: usize, raw: Vec<u8>) -> Received {
    let message = Message::from_vec(&raw).ok();
    let mut owners: Vec<String> = vec![];
    for record in message.iter().flat_map(|message| &message.authorities) {
        let name = plain(&record.name);
        if !owners.contains(&name) {
            owners.push(name);
        }
    }
    let signed = message.as_ref().is_some_and(|message| message.signature.is_some());
    let mut received = Received {
        connection,
        number: 0,
        number_here,
        id: raw.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]])),
        opcode: OpCode::from_u8((raw.get(2).copied().unwrap_or(0) >> 3) & 0x0f),
        zone: message.as_ref().and_then(|m| m.queries.first()).map(|zone| plain(zone.name())).unwrap_or_default(),
        owners,
        signed,
        verified: signed && shared.signer.verify_message_byte(&raw, None, true).is_ok(),
        raw,
    };
    shared.received.send_modify(|all| {
        received.number = all.len();
        all.push(received.clone());
    });
    received
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// Does it; false when the connection is to be closed.
async fn act(
    shared: &Arc<Shared>,
    received: &Received,
    action: Action,
    writer: &Writer,
    later: &mut JoinSet<()>,
) -> bool {
    let reply = Reply::to(received, &shared.signer);
    let sent = match action {
        Action::Answer(rcode) => send(writer, framed(&reply.signed(rcode))).await,
        Action::AnswerAfter(delay, rcode) => {
            let (octets, writer) = (framed(&reply.signed(rcode)), Arc::clone(writer));
            later.spawn(async move {
                sleep(delay).await;
                let _ = send(&writer, octets).await;
            });
            Ok(())
        }
        Action::Records(records) => send(writer, framed(&reply.records(records))).await,
        Action::Unsigned(rcode) => send(writer, framed(&reply.unsigned(rcode))).await,
        Action::WrongId(rcode) => send(writer, framed(&reply.wrong_id(rcode))).await,
        Action::WrongMac => send(writer, framed(&reply.wrong_mac())).await,
        Action::BadKey => send(writer, framed(&reply.bad_key())).await,
        Action::BadSig => send(writer, framed(&reply.bad_sig())).await,
        Action::BadTime(offset) => send(writer, framed(&reply.bad_time(offset))).await,
        Action::Garbage(octets) => send(writer, octets).await,
        Action::Frame(octets) => send(writer, framed(&octets)).await,
        Action::Truncated => {
            let mut octets = framed(&reply.signed(hickory_proto::op::ResponseCode::NoError));
            octets.truncate(octets.len() / 2);
            let _ = send(writer, octets).await;
            return false;
        }
        Action::TruncatedBit => send(writer, framed(&reply.truncated_bit())).await,
        Action::Drop => return false,
        Action::Silent => Ok(()),
        Action::Bytewise(rcode) => bytewise(writer, framed(&reply.signed(rcode))).await,
        Action::All(actions) => {
            for action in actions {
                if !Box::pin(act(shared, received, action, writer, later)).await {
                    return false;
                }
            }
            Ok(())
        }
    };
    sent.is_ok()
}

async fn send(writer: &Writer, octets: Vec<u8>) -> io::Result<()> {
    writer.lock().await.write_all(&octets).await
}

/// A millisecond lies between two octets, or the kernel would hand them over together.
async fn bytewise(writer: &Writer, octets: Vec<u8>) -> io::Result<()> {
    let mut writer = writer.lock().await;
    for octet in octets {
        writer.write_all(&[octet]).await?;
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn framed(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), octets].concat()
}
