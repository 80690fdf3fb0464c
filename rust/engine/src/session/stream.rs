//! A session's stream: in the clear or under TLS, the same to read and to write.
//!
//! The TLS state is boxed, so that a plain session stays small.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::TlsStream;

pub(crate) enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream>),
    /// A handshake has it, or had it and failed.
    Away,
}

fn away() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl Stream {
    /// The socket; -1 when it is away.
    pub fn socket(&self) -> RawFd {
        match self {
            Self::Clear(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_raw_fd(),
            Self::Away => -1,
        }
    }

    /// The socket itself, while it is in the clear.
    pub fn clear(&self) -> Option<&TcpStream> {
        match self {
            Self::Clear(stream) => Some(stream),
            _ => None,
        }
    }

    /// Takes the clear stream out, for a handshake.
    pub fn take_clear(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Away) {
            Self::Clear(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }

    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
            Self::Away => away().map_ok(|_| ()),
        }
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
            Self::Away => away(),
        }
    }

    /// What TLS has sealed but not sent goes out.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
            Self::Clear(_) => Poll::Ready(Ok(())),
            Self::Away => away().map_ok(|_| ()),
        }
    }

    /// Says `close_notify`; the clear stream has nothing of the kind.
    pub fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
            Self::Clear(_) | Self::Away => Poll::Ready(Ok(())),
        }
    }
}
