//! Connections to an Engine API of which only so much is read: a runtime that never stops talking takes no more memory than that.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one answer of the machine's runtime; a busy node's list has some.
const ANSWER: usize = 16 << 20;
/// Bytes of one answer of a user's own runtime, and of all its answers. A list of nothing but `{}` takes 250 times as much when it
/// is decoded.
const ANSWER_OF_USER: usize = 512 << 10;
const ANSWERS_OF_USER: usize = 4 << 20;

/// Connections to one runtime at once, each a descriptor, of which a process may have a thousand.
const MOST_CONNECTIONS: usize = 64;

/// Bytes that are asked for at once.
const PIECE: usize = 8 << 10;

/// The way to one socket, with a connection for each question.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    path: PathBuf,
    answer: usize,
    /// Bytes that may still come in all answers together.
    left: Arc<AtomicUsize>,
    free: Arc<Semaphore>,
}

impl Transport {
    /// To the socket on which that user listens, `None` for root and for who asks.
    pub(super) fn new(path: &Path, owner: Option<u32>) -> Self {
        let (answer, left) = owner.map_or((ANSWER, usize::MAX), |_| (ANSWER_OF_USER, ANSWERS_OF_USER));
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        Self { path: path.to_owned(), answer, left: Arc::new(AtomicUsize::new(left)), free }
    }

    pub(super) async fn ask(self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
        let permit = self.free.acquire_owned().await.map_err(io::Error::other)?;
        let stream = UnixStream::connect(&self.path).await?;
        let connection = Connection { stream, answer: self.answer, left: self.left, _permit: permit };
        let (mut sender, connection) = http1::handshake(connection).await?;
        // It ends with the answer, or when nobody wants that any more; what goes wrong in it is told to who reads.
        tokio::spawn(async move { connection.await.ok() });
        // A server wants to be told the path alone, and some name of itself.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(path);
        }
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        Ok(sender.send_request(request).await?)
    }
}

struct Connection {
    stream: UnixStream,
    /// Bytes that may still come.
    answer: usize,
    left: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Read for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let allowed = this.answer.min(this.left.load(Ordering::Relaxed));
        if allowed == 0 {
            return Poll::Ready(Err(io::Error::other("its answer is too long")));
        }
        let mut bytes = [0; PIECE];
        let most = PIECE.min(allowed).min(buffer.remaining());
        let mut piece = ReadBuf::new(bytes.get_mut(..most).unwrap_or_default());
        std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        let read = piece.filled();
        this.answer -= read.len();
        // Of one thread, which alone asks.
        this.left.fetch_sub(read.len(), Ordering::Relaxed);
        buffer.put_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl Write for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
