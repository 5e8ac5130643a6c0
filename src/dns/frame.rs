//! DNS over TCP framing (RFC 1035 section 4.2.2): two octets of length before each message. Pure.

/// The largest message that a frame can hold, in octets.
pub const MAX_FRAME: usize = u16::MAX as usize;

/// Cuts a stream of octets into messages, however it arrives.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Takes what arrived. Holds at most one unfinished frame beyond what [`Self::next_frame`] has not taken yet.
    pub fn feed(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole message, without its length.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.get(self.start..)?;
        let (length, body) = rest.split_first_chunk::<2>()?;
        let frame = body.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
        self.start += 2 + frame.len();
        Some(frame)
    }

    /// Whether a frame has begun that has not ended.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
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
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle().take(stream.len()) {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                reader.feed(piece);
                seen.extend(std::iter::from_fn(|| reader.next_frame()));
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(!reader.is_inside_frame());
        }
    }

    #[test]
    fn an_unfinished_frame_is_no_message() {
        let mut reader = FrameReader::default();
        reader.feed(&[0, 3, 1, 2]);
        assert_eq!(reader.next_frame(), None);
        assert!(reader.is_inside_frame());
    }
}
