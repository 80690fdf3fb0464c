//! The PROXY header: well written, badly written, cut at every octet.
#![allow(clippy::unwrap_used)]

use angarium_smtp::proxy::{Endpoint, Header, MAX_LENGTH, Parsed, ProxyError, ProxyTls, parse};
use proptest::prelude::*;

#[allow(clippy::unnecessary_wraps)] // As a header has it.
fn ip(text: &str) -> Option<Endpoint> {
    Some(Endpoint::Ip(text.parse().unwrap()))
}

fn header(input: &[u8]) -> Header {
    match parse(input) {
        Parsed::Header(header) => *header,
        other => panic!("{other:?}"),
    }
}

/// Every beginning of a good header is incomplete, and what stands behind it does not matter.
fn whole_or_cut(input: &[u8]) -> Header {
    let whole = header(input);
    assert_eq!(whole.used, input.len());
    for cut in 0..input.len() {
        assert_eq!(parse(&input[..cut]), Parsed::Incomplete, "cut at {cut}");
    }
    assert_eq!(header(&[input, b"EHLO c.example\r\n"].concat()), whole);
    whole
}

#[test]
fn version_1() {
    let read = whole_or_cut(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\n");
    assert_eq!((read.source, read.destination, read.local), (ip("192.0.2.1:56324"), ip("198.51.100.7:25"), false));
    let read = whole_or_cut(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
    assert_eq!((read.source, read.destination), (ip("[2001:db8::1]:1"), ip("[2001:db8::2]:65535")));
    let read = whole_or_cut(b"PROXY UNKNOWN\r\n");
    assert_eq!((read.source, read.local), (None, false));
    whole_or_cut(b"PROXY UNKNOWN ffff:f...f:ffff anything 65535 65535\r\n");
    let most: &[u8] = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(whole_or_cut(most).used, 107, "the longest there may be");
}

#[test]
fn version_1_badly_written() {
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    #[rustfmt::skip]
    let table: &[(&[u8], ProxyError)] = &[
        (b"EHLO c.example\r\n", ProxyError::Absent), (b"P", ProxyError::Absent), (b"proxy TCP4", ProxyError::Absent),
        (b"POST / HTTP/1.1\r\n", ProxyError::Absent), (b"\x16\x03\x01", ProxyError::Absent),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25 x\r\n", ProxyError::Line),
        (b"PROXY TCP4  192.0.2.1 198.51.100.7 56324 25\r\n", ProxyError::Line),
        (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", ProxyError::Line),
        (b"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 25\r\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 25\r\n", ProxyError::Line),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 01 25\r\n", ProxyError::Line),
        (b"PROXY UDP4 192.0.2.1 198.51.100.7 1 25\r\n", ProxyError::Line),
        (b"PROXY \xff\r\n", ProxyError::Line), (b"PROXY \r\n", ProxyError::Line),
        (&endless, ProxyError::TooLong),
    ];
    for (input, error) in table {
        let at_last = |end: usize| parse(&input[..end]);
        let first = (1..=input.len()).map(at_last).find(|parsed| *parsed != Parsed::Incomplete);
        // "P" and "proxy" differ from a header later than in their first octet.
        let expected = if **input == *b"P" { None } else { Some(Parsed::Bad(*error)) };
        assert_eq!(first, expected, "{input:?}");
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn addition(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], (value.len() as u16).to_be_bytes().as_slice(), value].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0, 25];

#[test]
fn version_2() {
    let read = whole_or_cut(&v2(0x21, 0x11, V4));
    assert_eq!((read.source, read.destination), (ip("192.0.2.1:56324"), ip("198.51.100.7:25")));
    let mut v6 = [0_u8; 36];
    (v6[0], v6[1], v6[15], v6[16], v6[31], v6[33], v6[35]) = (0x20, 1, 1, 0x20, 2, 7, 25);
    let read = whole_or_cut(&v2(0x21, 0x21, &v6));
    assert_eq!((read.source, read.destination), (ip("[2001::1]:7"), ip("[2000::2]:25")));
    let mut unix = [0_u8; 216];
    unix[..9].copy_from_slice(b"/run/sock");
    let read = whole_or_cut(&v2(0x21, 0x31, &unix));
    assert_eq!(read.source, Some(Endpoint::Unix(b"/run/sock".as_slice().into())));
    assert_eq!(read.destination, Some(Endpoint::Unix(b"".as_slice().into())));
    let read = whole_or_cut(&v2(0x21, 0x00, b"whatever"));
    assert_eq!((read.source, read.local), (None, false));
    for body in [b"".as_slice(), V4, b"short"] {
        let read = whole_or_cut(&v2(0x20, 0x11, body));
        assert_eq!((read.local, read.source), (true, None), "a health check");
    }
}

#[test]
fn version_2_additions() {
    let tls = [
        &[7_u8, 0, 0, 0, 0],
        addition(0x21, b"TLSv1.3").as_slice(),
        &addition(0x22, "J\u{f6}rg".as_bytes()),
        &addition(0x23, b"TLS_AES_128_GCM_SHA256"),
        &addition(0x2F, b"?"),
    ]
    .concat();
    let additions = [
        addition(1, b"smtp"),
        addition(2, b"mx.example"),
        addition(4, b"pad"),
        addition(5, b"id"),
        addition(0x20, &tls),
    ];
    let read = whole_or_cut(&v2(0x21, 0x11, &[V4, &additions.concat()].concat()));
    assert_eq!((read.alpn.as_deref(), read.authority.as_deref()), (Some(b"smtp".as_slice()), Some("mx.example")));
    assert_eq!(read.unique_id.as_deref(), Some(b"id".as_slice()));
    let expected = ProxyTls {
        over_tls: true,
        certificate: true,
        verified: true,
        version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        common_name: Some("J\u{f6}rg".into()),
    };
    assert_eq!(read.tls, Some(expected));
    let unverified = whole_or_cut(&v2(0x21, 0x11, &[V4, &addition(0x20, &[3, 0, 0, 0, 1])].concat())).tls.unwrap();
    assert!(unverified.certificate && !unverified.verified);
    let clear = whole_or_cut(&v2(0x21, 0x11, &[V4, &addition(0x20, &[0, 0, 0, 0, 0])].concat())).tls.unwrap();
    assert!(!clear.over_tls && !clear.verified, "no certificate is no good certificate");
}

#[test]
fn version_2_checksum() {
    let mut input = v2(0x21, 0x11, &[V4, &addition(3, &[0; 4]), &addition(5, b"behind")].concat());
    let at = 16 + V4.len() + 3;
    let sum = crc(&input);
    input[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(whole_or_cut(&input).source, ip("192.0.2.1:56324"));
    for octet in [13 + 3, 20, at, input.len() - 1] {
        let mut damaged = input.clone();
        damaged[octet] ^= 1;
        assert_eq!(parse(&damaged), Parsed::Bad(ProxyError::Checksum), "octet {octet}");
    }
    // The check value of CRC-32C.
    assert_eq!(crc(b"123456789"), 0xE306_9283);
}

/// CRC-32C, by polynomial division with the highest bit in front: written otherwise than the one under test.
fn crc(octets: &[u8]) -> u32 {
    let mut rest = 0xFFFF_FFFF_u32;
    for octet in octets {
        for bit in 0..8 {
            let carry = rest >> 31 ^ u32::from(octet >> bit & 1);
            rest = rest << 1 ^ if carry == 1 { 0x1EDC_6F41 } else { 0 };
        }
    }
    !rest.reverse_bits()
}

#[test]
fn version_2_badly_written() {
    let with = |additions: &[u8]| v2(0x21, 0x11, &[V4, additions].concat());
    #[rustfmt::skip]
    let table: &[(Vec<u8>, ProxyError)] = &[
        (b"\r\nQUIT\r\n".to_vec(), ProxyError::Absent),
        (v2(0x11, 0x11, V4), ProxyError::Unknown), (v2(0x22, 0x11, V4), ProxyError::Unknown), (v2(0x31, 0x11, V4), ProxyError::Unknown),
        (v2(0x21, 0x41, V4), ProxyError::Unknown), (v2(0x21, 0x12, V4), ProxyError::Unknown), (v2(0x21, 0x10, V4), ProxyError::Unknown),
        (v2(0x21, 0x11, &V4[..11]), ProxyError::Addresses), (v2(0x21, 0x21, V4), ProxyError::Addresses),
        (v2(0x21, 0x31, V4), ProxyError::Addresses), (v2(0x21, 0x11, &[0; MAX_LENGTH + 1]), ProxyError::TooLong),
        (with(&[5]), ProxyError::Addition), (with(&[5, 0, 2, 1]), ProxyError::Addition), (with(&[0x20, 0, 0]), ProxyError::Addition),
        (with(&addition(3, b"abc")), ProxyError::Addition), (with(&addition(3, b"abcd")), ProxyError::Checksum),
        (with(&addition(2, b"a\r\nReceived: x")), ProxyError::Addition), (with(&addition(2, b"\xff")), ProxyError::Addition),
        (with(&addition(5, &[1; 129])), ProxyError::Addition), (with(&addition(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9])), ProxyError::Addition),
        (with(&addition(0x20, &[&[1, 0, 0, 0, 0], addition(0x22, b"a\nb").as_slice()].concat())), ProxyError::Addition),
    ];
    for (input, error) in table {
        let first = (1..=input.len()).map(|end| parse(&input[..end])).find(|parsed| *parsed != Parsed::Incomplete);
        assert_eq!(first, Some(Parsed::Bad(*error)), "{input:?}");
    }
}

proptest! {
    /// More octets never change what fewer have shown.
    #[test]
    fn cuts_do_not_matter(
        command in prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()],
        family in prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), Just(0), any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..300),
        first in prop_oneof![Just("PROXY TCP4 "), Just("PROXY "), Just("")],
    ) {
        for input in [v2(command, family, &body), [first.as_bytes(), &body].concat()] {
            let whole = parse(&input);
            for end in 1..input.len() {
                let part = parse(&input[..end]);
                prop_assert!(part == Parsed::Incomplete || part == whole, "{:?} at {} became {:?}", part, end, whole);
            }
        }
    }
}
