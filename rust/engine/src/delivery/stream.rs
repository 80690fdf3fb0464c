//! The way of the bytes to a peer: TCP or a unix socket, in the clear or under TLS. One type for all of them, so that
//! a connection can be secured in its middle.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hosts::Place;

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: most connections carry none.
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake took the socket along when it failed.
    Lost,
}

impl Stream {
    /// Stage *connect*.
    pub async fn connect(place: &Place, source: Option<IpAddr>, patience: Duration) -> io::Result<Self> {
        let connecting = async {
            match place {
                Place::Tcp(address) => connect_tcp(*address, source).await.map(Self::Tcp),
                Place::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            }
        };
        timeout(patience, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// The handshake. When it fails the connection is lost with it.
    pub async fn secure(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<()> {
        let Self::Tcp(tcp) = std::mem::replace(self, Self::Lost) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let secured = TlsConnector::from(config).connect(name, tcp).await?;
        *self = Self::Tls(Box::new(secured));
        Ok(())
    }

    /// The TLS connection, if there is one.
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        if let Self::Tls(stream) = self { Some(stream.get_ref().1) } else { None }
    }
}

async fn connect_tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    // One write is one step of the dialogue: waiting to fill packets would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
