//! The part tree: its shape on good and bad mail, its ranges on any bytes, its time on bombs.

use angarium_message::scan::{MAX_DEPTH, MAX_PARTS};
use angarium_message::{Bound, Kind, Tree};
use proptest::prelude::*;

/// The tree in one line: `mixed(plain, rfc822(html))`.
fn shape(data: &str) -> String {
    fn of(part: angarium_message::Part<'_>) -> String {
        let name = String::from_utf8_lossy(part.content_type().sub).to_ascii_lowercase();
        let inside: Vec<String> = part.children().map(of).collect();
        if part.kind() == Kind::Leaf { name } else { format!("{name}({})", inside.join(", ")) }
    }
    of(Tree::scan(data.as_bytes()).root(data.as_bytes()))
}

fn multipart(sub: &str, boundary: &str, parts: &[&str]) -> String {
    let inside = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect::<Vec<_>>().concat();
    format!("Content-Type: multipart/{sub}; boundary=\"{boundary}\"\r\n\r\n{inside}--{boundary}--\r\n")
}

const HTML: &str = "Content-Type: text/html\r\n\r\n<p>";

#[test]
fn finds_parts() {
    let inner = multipart("alternative", "in", &["\r\nplain", HTML]);
    let message = format!("Content-Type: message/rfc822\r\n\r\n{inner}");
    for (mail, want) in [
        ("", "plain"),
        ("Subject: x\r\n\r\nbody", "plain"),
        (&multipart("mixed", "a", &["\r\none", HTML]), "mixed(plain, html)"),
        (&multipart("mixed", "a", &[&inner, HTML]), "mixed(alternative(plain, html), html)"),
        (&multipart("mixed", "a", &[&message, HTML]), "mixed(rfc822(alternative(plain, html)), html)"),
        (&multipart("digest", "a", &["\r\nSubject: x\r\n\r\none"]), "digest(rfc822(plain))"),
        (&multipart("mixed", "a", &[]), "mixed()"),
        // The outer delimiter ends an inner multipart that never closes.
        (&multipart("mixed", "a", &[&inner.replace("--in--", ""), HTML]), "mixed(alternative(plain, html), html)"),
        ("Content-Type: multipart/mixed\r\n\r\nno boundary", "mixed"),
        // A delimiter in the header of a part ends it; LF alone ends lines too.
        ("Content-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a\n\nz\n--a--\n", "mixed(plain, plain)"),
        // An encoded message is content.
        ("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYg==", "rfc822"),
        // A delimiter stands at the start of a line and is the whole of it.
        (
            "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx --a\r\n--ab\r\n--a \t\r\n\r\ny",
            "mixed(plain, plain)",
        ),
    ] {
        assert_eq!(shape(mail), want, "{mail}");
    }
}

#[test]
fn gives_ranges() {
    let mail = "Content-Type: multipart/mixed; boundary=a\r\n\r\npre\r\n--a\r\nA: b\r\n\r\none\r\n--a\r\n\r\n--a--\r\nepilogue";
    let tree = Tree::scan(mail.as_bytes());
    let bodies: Vec<&str> = tree.parts(mail.as_bytes()).map(|part| &mail[part.body_range()]).collect();
    assert_eq!(bodies, [mail.split_once("\r\n\r\n").unwrap().1, "one", ""]);
    assert!(tree.root(mail.as_bytes()).is_closed());
    assert_eq!(tree.part(mail.as_bytes(), 1).unwrap().value("a"), Some(&b" b"[..]));
}

#[test]
fn stops_at_bounds() {
    let nested: String = (0..200).fold(String::new(), |mail, level| {
        format!("{mail}Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n")
    });
    let tree = Tree::scan(nested.as_bytes());
    assert_eq!(tree.bounds().collect::<Vec<_>>(), [Bound::Depth]);
    assert_eq!(tree.parts(nested.as_bytes()).map(|part| part.depth()).max(), Some(MAX_DEPTH));

    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    assert_eq!(Tree::scan(messages.as_bytes()).bounds().collect::<Vec<_>>(), [Bound::Depth]);

    let many = format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{}", "--a\r\n\r\n".repeat(MAX_PARTS + 5));
    let tree = Tree::scan(many.as_bytes());
    assert_eq!((tree.len(), tree.bounds().collect::<Vec<_>>()), (MAX_PARTS, vec![Bound::Parts]));

    let long = format!("Content-Type: multipart/mixed; boundary={}\r\n\r\n", "x".repeat(3000));
    assert_eq!(Tree::scan(long.as_bytes()).bounds().collect::<Vec<_>>(), [Bound::Boundary]);

    let fields = "A: b\r\n".repeat(10_001);
    assert_eq!(Tree::scan(fields.as_bytes()).bounds().collect::<Vec<_>>(), [Bound::Fields]);

    let header = format!("A: {}\r\nB: c\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(Tree::scan(header.as_bytes()).bounds().collect::<Vec<_>>(), [Bound::Header]);
}

/// Bombs of some megabytes, each of which took quadratic time in some reader; the test's own time limit is the check.
#[test]
fn bombs_end() {
    let deep: String = (0..MAX_DEPTH).fold(String::new(), |mail, level| {
        format!(
            "{mail}Content-Type: multipart/mixed; boundary={}{level:03}\r\n\r\n--{}{level:03}\r\n",
            "a".repeat(60),
            "a".repeat(60)
        )
    });
    for tail in ["--\r\n", "--aaaa\r\n", "\n--", "-", "--a", "\r", "a: b\r\n c\r\n"] {
        let bomb = format!("{deep}\r\n{}", tail.repeat(4_000_000 / tail.len()));
        assert!(Tree::scan(bomb.as_bytes()).len() > MAX_DEPTH);
    }
    let near = format!("--{}", "a".repeat(60)) + "\r\n";
    assert!(Tree::scan(format!("{deep}\r\n{}", near.repeat(60_000)).as_bytes()).len() > MAX_DEPTH);
    let encoded = format!("Subject: {}\r\n\r\n", "=?a?q?".repeat(150_000));
    let tree = Tree::scan(encoded.as_bytes());
    assert!(tree.root(encoded.as_bytes()).text_of("Subject").is_some());
    let parameters = format!("Content-Type: a/b{}\r\n\r\n", ";x*0=y".repeat(150_000));
    assert!(Tree::scan(parameters.as_bytes()).root(parameters.as_bytes()).file_name().is_none());
}

proptest! {
    #[test]
    fn ranges_hold_on_any_bytes(
        lines in proptest::collection::vec(prop_oneof![
            Just("Content-Type: multipart/mixed; boundary=a"), Just("Content-Type: multipart/digest; boundary=b"),
            Just("Content-Type: message/rfc822"), Just("Content-Transfer-Encoding: base64"), Just(""), Just("--a"),
            Just("--b"), Just("--a--"), Just("--b--"), Just("text"), Just(" fold"), Just("--"),
        ], 0..40),
        crlf in any::<bool>(),
    ) {
        let data = lines.join(if crlf { "\r\n" } else { "\n" }).into_bytes();
        let tree = Tree::scan(&data);
        prop_assert_eq!(tree.root(&data).range(), 0..data.len());
        for part in tree.parts(&data) {
            prop_assert!(part.header_range().end <= part.body_range().end);
            let mut at = part.body_range().start;
            for child in part.children() {
                prop_assert_eq!(child.parent().map(|parent| parent.number()), Some(part.number()));
                prop_assert!(at <= child.range().start && child.range().end <= part.range().end);
                at = child.range().end;
            }
            let _ = (part.decode(), part.text(), part.file_name(), part.is_attachment());
        }
    }

    #[test]
    fn any_bytes_survive(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        let tree = Tree::scan(&data);
        prop_assert_eq!(tree.root(&data).range(), 0..data.len());
        let _ = (tree.root(&data).text(), angarium_message::convert::seven_bit(&data));
    }
}
