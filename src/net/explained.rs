//! What hyper leaves unsaid: its answer to a request that it cannot read is a status and no word. Knows no path.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream on which such an answer says what is wrong, and which tells whether octets came after the last answer.
#[derive(Debug)]
pub(super) struct Explained<S> {
    stream: S,
    heard: Arc<AtomicBool>,
    /// What is written in the place of hyper's answer, and how much of it was.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Explained<S> {
    /// The stream, and where to see whether octets of a request have come that has no answer.
    pub(super) fn new(stream: S) -> (Self, Arc<AtomicBool>) {
        let heard = Arc::new(AtomicBool::new(false));
        (Self { stream, heard: Arc::clone(&heard), instead: None }, heard)
    }
}

/// hyper's answer with words in it. A service's own has a Content-Type.
fn explained(answer: &[u8]) -> Option<Vec<u8>> {
    let why = match answer.get(9..13)? {
        b"400 " => "this cannot be read: no header may go on in a second line, and no path may hold a blank",
        b"431 " => "the headers are too long, or too many",
        b"414 " => "the request line is too long",
        _ => return None,
    };
    let answer = std::str::from_utf8(answer).ok()?;
    let (before, after) = answer.split_once("Content-Length: 0\r\n")?;
    let is_hypers = answer.starts_with("HTTP/1.") && after.ends_with("\r\n\r\n") && !answer.contains("Content-Type: ");
    let length = why.len();
    is_hypers
        .then(|| format!("{before}Content-Type: text/plain\r\nContent-Length: {length}\r\n{after}{why}").into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.store(false, Ordering::Relaxed);
        let this = &mut *self;
        if this.instead.is_none() {
            this.instead = explained(buf).map(|answer| (answer, 0));
        }
        let Some((answer, written)) = &mut this.instead else { return Pin::new(&mut this.stream).poll_write(cx, buf) };
        while let Some(rest) = answer.get(*written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        this.instead = None;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's answer is one piece; a service's has a body behind its head.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        self.heard.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const HYPERS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nDate: x\r\n\r\n";

    #[test]
    fn only_what_hyper_says_by_itself_gets_words() {
        let words = String::from_utf8(explained(HYPERS.as_bytes()).unwrap()).unwrap();
        assert!(words.ends_with(
            "\r\nDate: x\r\n\r\nthis cannot be read: no header may go on in a second line, and no path may hold a blank"
        ));
        for ours in [
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nbadip",
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 400",
            "",
        ] {
            assert_eq!(explained(ours.as_bytes()), None, "{ours}");
        }
    }

    #[tokio::test]
    async fn an_answer_gets_its_words_however_little_is_taken_at_once() {
        let (ours, mut theirs) = duplex(3);
        let (mut ours, heard) = Explained::new(ours);
        theirs.write_all(b"GET").await.unwrap();
        ours.read_u8().await.unwrap();
        assert!(heard.load(Ordering::Relaxed));
        let writing = tokio::spawn(async move { ours.write_all(HYPERS.as_bytes()).await });
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(answer, explained(HYPERS.as_bytes()).unwrap());
        assert!(!heard.load(Ordering::Relaxed), "it was answered");
    }
}
