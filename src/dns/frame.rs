//! DNS over TCP framing (RFC 1035 section 4.2.2): two octets of length before each message. Pure.

use bytes::{Buf as _, BytesMut};

/// Takes the next whole message out of what has arrived; what is left is the beginning of another.
pub(super) fn next_frame(arrived: &mut BytesMut) -> Option<BytesMut> {
    let (length, rest) = arrived.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if rest.len() < length {
        return None;
    }
    arrived.advance(2);
    Some(arrived.split_to(length))
}

/// Adds `message` behind its length, unless it is too long for a frame.
pub(super) fn write_frame(out: &mut Vec<u8>, message: &[u8]) {
    if let Ok(length) = u16::try_from(message.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(1usize..64, 1..200),
        ) {
            let mut stream = Vec::new();
            messages.iter().for_each(|message| write_frame(&mut stream, message));
            let mut arrived = BytesMut::new();
            let mut seen = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle().take(stream.len()) {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                arrived.extend_from_slice(piece);
                seen.extend(std::iter::from_fn(|| next_frame(&mut arrived)));
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(arrived.is_empty());
        }
    }

    #[test]
    fn an_unfinished_frame_is_no_message() {
        let mut arrived = BytesMut::from(&[0, 3, 1, 2][..]);
        assert_eq!(next_frame(&mut arrived), None);
        assert_eq!(arrived.len(), 4);
    }
}
