//! xtext (RFC 3461 4): printable ASCII without blanks, `+` and `=`; any other octet is `+` and two hexadecimal digits.
//! ENVID, ORCPT and AUTH of MAIL and RCPT are written so, and the attributes of XCLIENT and XFORWARD.

/// Octets that stand for themselves.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b'+' && octet != b'='
}

/// Writes `octets` as xtext.
pub fn encode(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        if is_plain(octet) {
            text.push(char::from(octet));
        } else {
            text.push('+');
            text.push(char::from(DIGITS[usize::from(octet >> 4)]));
            text.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
    text
}

/// Reads xtext; `None` when it is none. Digits in lower case are read too, as the field writes them.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'+' {
            let (digits, behind) = behind.split_at_checked(2)?;
            octets.push(hexadecimal(digits[0])? << 4 | hexadecimal(digits[1])?);
            rest = behind;
        } else {
            octets.push(Some(first).filter(|octet| is_plain(*octet))?);
            rest = behind;
        }
    }
    Some(octets)
}

/// Reads xtext that stands for printable ASCII and blanks only: nothing that could break a line or a header field.
pub fn decode_printable(text: &str) -> Option<String> {
    let octets = decode(text)?;
    let printable = octets.iter().all(|octet| matches!(octet, b' '..=b'~'));
    printable.then(|| octets.into_iter().map(char::from).collect())
}

/// Reads xtext that stands for UTF-8 without control characters, as Postfix writes addresses that are not ASCII.
pub fn decode_text(text: &str) -> Option<String> {
    String::from_utf8(decode(text)?).ok().filter(|text| !text.chars().any(char::is_control))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_refuses() {
        #[rustfmt::skip]
        let table: &[(&str, Option<&str>)] = &[
            ("", Some("")), ("QQ314159", Some("QQ314159")), ("a+2Bb+3d", Some("a+b=")), ("a+20b", Some("a b")),
            ("a+0D+0Ab", None), ("a+00", None), ("a+C3+BC", None), ("a b", None), ("a=b", None), ("a+", None),
            ("a+2", None), ("a+G0", None), ("a+2\u{fc}", None), ("\u{fc}", None), ("a\tb", None), ("+7F", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode_printable(text).as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn reads_text() {
        let table =
            [("gr+C3+BCn", Some("grün")), ("a+2Bb", Some("a+b")), ("a+FC", None), ("a+C2+85", None), ("a+0A", None)];
        for (text, expected) in table {
            assert_eq!(decode_text(text).as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&octets);
            prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'='));
            prop_assert_eq!(decode(&text), Some(octets));
        }
    }
}
