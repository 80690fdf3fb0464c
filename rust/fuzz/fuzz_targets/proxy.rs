//! Any bytes as a PROXY header: no octet more changes what fewer have shown, and what is said of the client is clean.
#![no_main]

use angarium_smtp::proxy::{Parsed, parse};
use libfuzzer_sys::fuzz_target;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&[b"PROXY ", data].concat());
    check(&[SIGNATURE, data].concat());
    let length = data.len().min(4_096) as u16;
    check(&[SIGNATURE, &[0x21, 0x11], &length.to_be_bytes(), data].concat());
});

fn check(input: &[u8]) {
    let whole = parse(input);
    for end in 0..input.len().min(200) {
        let part = parse(&input[..end]);
        assert!(part == Parsed::Incomplete || part == whole, "{part:?} at {end} became {whole:?}");
    }
    let Parsed::Header(header) = whole else { return };
    assert!(header.used <= input.len());
    let tls = header.tls.unwrap_or_default();
    for text in [header.authority, tls.common_name, tls.cipher, tls.version].into_iter().flatten() {
        assert!(!text.chars().any(char::is_control));
    }
}
