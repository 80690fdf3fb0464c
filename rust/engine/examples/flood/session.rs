//! One connection of the load generator: from the PROXY header to the login, then replies to what is written.
//!
//! Every reply must have the code that its place demands; what differs ends the run with the line that came.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const HOST: &str = "mx.load.example";

/// What stands before the first message of a connection.
#[derive(Default)]
pub struct Way {
    pub proxy: bool,
    pub xclient: bool,
    pub tls: Option<TlsConnector>,
    /// The words of AUTH PLAIN, in base64.
    pub login: Option<String>,
    pub noops: u32,
    /// Further EHLO.
    pub hellos: u32,
}

/// Whole handshakes with the server that shows this certificate.
pub fn connector(certificate: &Path) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config).into())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Session {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    at: usize,
}

impl Session {
    /// A connection to 127.0.0.1:`port` on which MAIL may come next.
    pub(crate) async fn begin(port: u16, way: &Way) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        if way.proxy {
            socket.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n").await?;
        }
        let mut session = Self { stream: Box::new(socket), buffer: Vec::with_capacity(8192), at: 0 };
        session.expect(&["220"]).await?;
        session.ask("EHLO load.example", "250").await?;
        if way.xclient {
            session.ask("XCLIENT ADDR=127.0.0.1 NAME=load.example", "220").await?;
            session.ask("EHLO load.example", "250").await?;
        }
        if let Some(connector) = &way.tls {
            session.ask("STARTTLS", "220").await?;
            session.stream = Box::new(connector.connect(ServerName::try_from(HOST)?, session.stream).await?);
            session.ask("EHLO load.example", "250").await?;
        }
        if let Some(login) = &way.login {
            session.ask(&format!("AUTH PLAIN {login}"), "235").await?;
        }
        for _ in 0..way.hellos {
            session.ask("EHLO load.example", "250").await?;
        }
        for _ in 0..way.noops {
            session.ask("NOOP", "250").await?;
        }
        Ok(session)
    }

    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.ask("QUIT", "221").await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn ask(&mut self, line: &str, code: &str) -> Result<(), Failure> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.expect(&[code]).await
    }

    /// Reads a whole reply for each of the codes; it must begin with it.
    pub(crate) async fn expect(&mut self, codes: &[&str]) -> Result<(), Failure> {
        for code in codes {
            loop {
                let line = self.line().await?;
                if !line.starts_with(code) {
                    return Err(format!("expected {code}, got {line:?}").into());
                }
                if line.as_bytes().get(3) != Some(&b'-') {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer[self.at..].iter().position(|&b| b == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[self.at..self.at + end]).into_owned();
                self.at += end + 1;
                return Ok(line);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}
