//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the arithmetic, and the messages of both roles.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Secret, texts};

/// RFC 7677 4: no fewer rounds.
pub(super) const MIN_ITERATIONS: u32 = 4_096;
/// More rounds than anybody's store has: a server must not keep our processor busy for minutes.
pub(super) const MAX_ITERATIONS: u32 = 1_000_000;
/// Characters of a nonce; ours have 24, those of others up to 64.
const MAX_NONCE: usize = 255;

type Key = [u8; 32];

/// What a server keeps of a password, so that the exchange can be judged without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKeys {
    /// RFC 5802 3; the keys are those of SHA-256.
    Scram { salt: Box<[u8]>, iterations: u32, stored_key: Secret, server_key: Secret },
    /// The password itself (RFC 2195 5).
    Cram { secret: Secret },
    /// No such login; the exchange goes on and fails at its end. For SCRAM make [`StoredKeys::fake`] ones.
    Unknown,
}

impl StoredKeys {
    /// The keys of a password. `salt` must be fresh.
    pub fn scram(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted(texts::prepared_secret(password).as_bytes(), salt, iterations);
        let stored_key = Secret::new(hash(&mac(&salted, b"Client Key")));
        let server_key = Secret::new(mac(&salted, b"Server Key"));
        Self::Scram { salt: salt.into(), iterations, stored_key, server_key }
    }

    /// Keys for a login that does not exist: always the same ones for the same `key` (a secret of the process) and
    /// login, so that nobody can tell; no proof fits them.
    pub fn fake(key: &[u8], login: &str, iterations: u32) -> Self {
        let seed = |label: &[u8]| mac(key, &[label, login.as_bytes()].concat());
        Self::Scram {
            salt: seed(b"salt ")[..16].into(),
            iterations,
            stored_key: Secret::new(seed(b"stored ")),
            server_key: Secret::new(seed(b"server ")),
        }
    }
}

/// RFC 5802 2.2: `Hi`.
pub(super) fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut key = Key::default();
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key);
    key
}

pub(super) fn mac(key: &[u8], text: &[u8]) -> Key {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Key::default() };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

pub(super) fn hash(octets: &[u8]) -> Key {
    Sha256::digest(octets).into()
}

pub(super) fn xor(one: &Key, other: &[u8]) -> Key {
    std::array::from_fn(|at| one[at] ^ other.get(at).copied().unwrap_or_default())
}

pub(super) fn base64(octets: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(octets)
}

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

/// Printable and without a comma (RFC 5802 7).
pub(super) fn is_nonce(text: &str) -> bool {
    (1..=MAX_NONCE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

/// `n=login,r=nonce` with extensions behind, none of which may be mandatory (RFC 5802 7).
pub(super) fn client_first(bare: &str) -> Option<(Box<str>, &str)> {
    let mut fields = bare.split(',');
    let login = texts::decode_name(fields.next()?.strip_prefix("n=")?)?;
    let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
    Some((login, nonce))
}

/// `r=nonce,s=salt,i=iterations`.
pub(super) fn server_first(message: &str) -> Option<(&str, Vec<u8>, u32)> {
    let mut fields = message.split(',');
    let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
    let salt = from_base64(fields.next()?.strip_prefix("s=")?).filter(|salt| !salt.is_empty())?;
    let iterations = fields.next()?.strip_prefix("i=")?.parse().ok()?;
    Some((nonce, salt, iterations))
}

/// The parts of `c=binding,r=nonce,p=proof`.
pub(super) struct ClientFinal<'a> {
    pub binding: Vec<u8>,
    pub nonce: &'a str,
    pub without_proof: &'a str,
    pub proof: Vec<u8>,
}

pub(super) fn client_final(message: &str) -> Option<ClientFinal<'_>> {
    let (without_proof, proof) = message.rsplit_once(",p=")?;
    let mut fields = without_proof.split(',');
    let binding = from_base64(fields.next()?.strip_prefix("c=")?)?;
    let nonce = fields.next()?.strip_prefix("r=")?;
    Some(ClientFinal { binding, nonce, without_proof, proof: from_base64(proof)? })
}
