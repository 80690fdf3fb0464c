//! Version 2: sixteen octets, addresses, additions of type, length and value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Endpoint, Header, ProxyError, ProxyTls};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// Version 2, with its two commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Octets behind the fixed part that we take. Proxies fill a few hundred; the protocol would allow 65,535.
pub const MAX_LENGTH: usize = 4_096;
/// proxy-protocol.txt 2.2: of an address of a unix socket.
const UNIX: usize = 108;
const MAX_UNIQUE_ID: usize = 128;

type Parsed<T> = Result<T, ProxyError>;

pub(super) fn parse(input: &[u8]) -> Parsed<Option<Header>> {
    let seen = input.len().min(SIGNATURE.len());
    if input[..seen] != SIGNATURE[..seen] {
        return Err(ProxyError::Absent);
    }
    let Some((fixed, behind)) = input.split_at_checked(FIXED) else {
        return if input.get(12).is_some_and(|word| *word != LOCAL && *word != PROXY) {
            Err(ProxyError::Unknown)
        } else {
            Ok(None)
        };
    };
    if fixed[12] != LOCAL && fixed[12] != PROXY {
        return Err(ProxyError::Unknown);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_LENGTH {
        return Err(ProxyError::TooLong);
    }
    let Some(body) = behind.get(..length) else { return Ok(None) };
    let mut header = Header { local: fixed[12] == LOCAL, used: FIXED + length, ..Header::default() };
    let additions = addresses(&mut header, fixed[13], body)?;
    let whole = &input[..FIXED + length];
    read_additions(&mut header, whole, FIXED + (length - additions.len()))?;
    if header.local {
        // proxy-protocol.txt 2.2: whatever stands there counts for nothing.
        header = Header { local: true, used: header.used, ..Header::default() };
    }
    Ok(Some(header))
}

/// Reads the addresses; gives what stands behind them.
fn addresses<'a>(header: &mut Header, family: u8, body: &'a [u8]) -> Parsed<&'a [u8]> {
    // The upper half says the family, the lower one the transport: none, stream, datagram.
    let length = match family {
        0x00 => return Ok(&[]),
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 2 * UNIX,
        _ if header.local => return Ok(&[]),
        _ => return Err(ProxyError::Unknown),
    };
    let Some((block, behind)) = body.split_at_checked(length) else {
        return if header.local { Ok(&[]) } else { Err(ProxyError::Addresses) };
    };
    // Mail comes over streams.
    if family & 15 != 1 && !header.local {
        return Err(ProxyError::Unknown);
    }
    (header.source, header.destination) = match family >> 4 {
        1 => (ip(v4(&block[..4]), &block[8..10]), ip(v4(&block[4..8]), &block[10..])),
        2 => (ip(v6(&block[..16]), &block[32..34]), ip(v6(&block[16..32]), &block[34..])),
        _ => (unix(&block[..UNIX]), unix(&block[UNIX..])),
    };
    Ok(behind)
}

fn v4(octets: &[u8]) -> IpAddr {
    Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|at| octets[at])).into()
}

fn v6(octets: &[u8]) -> IpAddr {
    Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|at| octets[at])).into()
}

#[allow(clippy::unnecessary_wraps)] // Beside `unix`.
fn ip(address: IpAddr, port: &[u8]) -> Option<Endpoint> {
    Some(Endpoint::Ip(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]]))))
}

#[allow(clippy::unnecessary_wraps)]
fn unix(path: &[u8]) -> Option<Endpoint> {
    let end = path.iter().position(|octet| *octet == 0).unwrap_or(path.len());
    Some(Endpoint::Unix(path[..end].into()))
}

/// One addition: its type, its value, and where the value stands; and what is left.
fn addition(octets: &[u8]) -> Parsed<(u8, &[u8], &[u8])> {
    let (head, behind) = octets.split_at_checked(3).ok_or(ProxyError::Addition)?;
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (value, rest) = behind.split_at_checked(length).ok_or(ProxyError::Addition)?;
    Ok((head[0], value, rest))
}

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;

/// Reads the additions, which begin at `from` of the whole header. Unknown ones are skipped (proxy-protocol.txt 2.2.7).
fn read_additions(header: &mut Header, whole: &[u8], from: usize) -> Parsed<()> {
    let mut rest = &whole[from..];
    while !rest.is_empty() {
        let (kind, value, behind) = addition(rest)?;
        match kind {
            ALPN => header.alpn = Some(value.into()),
            AUTHORITY => header.authority = Some(printable(value)?),
            CRC32C => check(whole, whole.len() - behind.len() - value.len(), value)?,
            UNIQUE_ID if value.len() > MAX_UNIQUE_ID => return Err(ProxyError::Addition),
            UNIQUE_ID => header.unique_id = Some(value.into()),
            SSL => header.tls = Some(tls(value)?),
            _ => {}
        }
        rest = behind;
    }
    Ok(())
}

/// Text that a log and a field can bear.
fn printable(value: &[u8]) -> Parsed<Box<str>> {
    let text = std::str::from_utf8(value).map_err(|_| ProxyError::Addition)?;
    if text.len() > 255 || text.chars().any(char::is_control) { Err(ProxyError::Addition) } else { Ok(text.into()) }
}

/// The checksum is over the whole header with zeros in its own place.
fn check(whole: &[u8], at: usize, value: &[u8]) -> Parsed<()> {
    let said = <[u8; 4]>::try_from(value).map_err(|_| ProxyError::Addition)?;
    let sum = crc32c(crc32c(crc32c(!0, &whole[..at]), &[0; 4]), &whole[at + 4..]);
    if !sum == u32::from_be_bytes(said) { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// Castagnoli's polynomial, bit by bit: a header has a hundred octets.
fn crc32c(start: u32, octets: &[u8]) -> u32 {
    octets.iter().fold(start, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// proxy-protocol.txt 2.2.6: bits of the client, the verdict on its certificate, additions.
fn tls(value: &[u8]) -> Parsed<ProxyTls> {
    let (head, mut rest) = value.split_at_checked(5).ok_or(ProxyError::Addition)?;
    let certificate = head[0] & 6 != 0;
    let verified = certificate && head[1..] == [0; 4];
    let mut tls = ProxyTls { over_tls: head[0] & 1 != 0, certificate, verified, ..ProxyTls::default() };
    while !rest.is_empty() {
        let (kind, value, behind) = addition(rest)?;
        match kind {
            0x21 => tls.version = Some(printable(value)?),
            0x22 => tls.common_name = Some(printable(value)?),
            0x23 => tls.cipher = Some(printable(value)?),
            _ => {}
        }
        rest = behind;
    }
    Ok(tls)
}
