//! A client under TLS for the tests, and the certificates that the house shows. It believes every server.

use std::io::BufReader;
use std::net::TcpStream;
use std::sync::Arc;

use angarium_engine::tables::{Certificate, Certificates};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use super::{Client, House, table};

const EC: (&[u8], &[u8]) = (include_bytes!("../keys/ec.pem"), include_bytes!("../keys/ec.key"));
const RSA: (&[u8], &[u8]) = (include_bytes!("../keys/rsa.pem"), include_bytes!("../keys/rsa.key"));
const CLIENT: (&[u8], &[u8]) = (include_bytes!("../keys/client.pem"), include_bytes!("../keys/client.key"));
const CLIENT_CA: &[u8] = include_bytes!("../keys/ca.pem");

pub type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn certificate(names: &[&str], (chain, key): (&[u8], &[u8])) -> Certificate {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Certificate { names, chain: chain.to_vec().into(), key: key.to_vec().into() }
}

/// mx.example with ECDSA and RSA, other.example with RSA alone; clients may show theirs.
pub fn certificates() -> Certificates {
    Certificates {
        certificates: vec![
            certificate(&["mx.example"], EC),
            certificate(&["mx.example", "other.example", "*.wild.example"], RSA),
        ],
        client_ca: CLIENT_CA.to_vec().into(),
        challenges: vec![certificate(&["mx.example"], EC)],
    }
}

impl House {
    /// Gives the house its certificates.
    pub fn certified(self) -> Self {
        self.engine.set_certificates(&table(&certificates())).unwrap();
        self
    }
}

/// How a client shakes hands.
pub fn config(change: impl FnOnce(&mut ClientConfig), shows: bool, tls12: bool) -> Arc<ClientConfig> {
    config_of(aws_lc_rs::default_provider(), change, shows, tls12)
}

/// TLS 1.2 with nothing but RSA.
pub fn rsa_alone() -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
    config_of(provider, |_| {}, false, true)
}

fn config_of(
    provider: rustls::crypto::CryptoProvider,
    change: impl FnOnce(&mut ClientConfig),
    shows: bool,
    tls12: bool,
) -> Arc<ClientConfig> {
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13, &rustls::version::TLS12] };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = if shows {
        let chain = CertificateDer::pem_slice_iter(CLIENT.0).collect::<Result<_, _>>().unwrap();
        builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(CLIENT.1).unwrap()).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    change(&mut config);
    Arc::new(config)
}

pub fn plain_config() -> Arc<ClientConfig> {
    config(|_| {}, false, false)
}

impl Client {
    /// The same connection under TLS, the handshake done.
    pub fn secure(self, config: Arc<ClientConfig>, name: &str) -> std::io::Result<TlsClient> {
        let mut socket = self.0.into_inner();
        let mut connection = ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Client(BufReader::new(StreamOwned::new(connection, socket))))
    }

    pub fn starttls(mut self, name: &str) -> TlsClient {
        self.expect("EHLO client.example", 250);
        self.expect("STARTTLS", 220);
        self.secure(plain_config(), name).unwrap()
    }
}
