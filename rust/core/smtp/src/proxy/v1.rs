//! Version 1: a line, `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25`.

use std::net::{IpAddr, SocketAddr};

use super::{Endpoint, Header, ProxyError};

const PREFIX: &[u8] = b"PROXY ";
/// proxy-protocol.txt 2.1: with CRLF.
const MAX_LINE: usize = 107;

pub(super) fn parse(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let seen = input.len().min(PREFIX.len());
    if input[..seen] != PREFIX[..seen] {
        return Err(ProxyError::Absent);
    }
    let window = &input[..input.len().min(MAX_LINE)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == MAX_LINE { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let text = std::str::from_utf8(&line[PREFIX.len()..]).map_err(|_| ProxyError::Line)?;
    let header = read(text).ok_or(ProxyError::Line)?;
    Ok(Some(Header { used: end + 1, ..header }))
}

fn read(text: &str) -> Option<Header> {
    let words: Vec<&str> = text.split(' ').collect();
    // What stands behind UNKNOWN is to be ignored.
    if words[0] == "UNKNOWN" {
        return Some(Header::default());
    }
    let [family, source, destination, source_port, destination_port] = words[..] else { return None };
    let address = |text: &str| -> Option<IpAddr> {
        let address: IpAddr = text.parse().ok()?;
        let named = match family {
            "TCP4" => address.is_ipv4(),
            "TCP6" => address.is_ipv6(),
            _ => false,
        };
        named.then_some(address)
    };
    let end = |address_text, port_text| Some(Endpoint::Ip(SocketAddr::new(address(address_text)?, port(port_text)?)));
    Some(Header {
        source: Some(end(source, source_port)?),
        destination: Some(end(destination, destination_port)?),
        ..Header::default()
    })
}

/// Digits without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let good = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| good)
}
