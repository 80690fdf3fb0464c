//! Reports against golden files that a mail admin can read (`reports/*.eml`), and against hostile words.
//!
//! `ANGARIUM_WRITE_GOLDEN=1 cargo test -p angarium-message --test report` writes the files anew; read the diff.

use std::path::PathBuf;

use angarium_message::Header;
use angarium_message::report::{Action, MAX_RETURNED, Original, RecipientReport, Report, Written, status_of};
use angarium_nouns::{BodyType, DsnReturn, EnhancedCode, MessageId, Outcome, Reason};
use proptest::prelude::*;

const NOW: u64 = 1_795_594_600_000;
const HEADER: &[u8] = b"Received: from a by b; Wed, 25 Nov 2026 08:00:00 +0000\r\nFrom: a@example.org\r\n\
    To: b@example.net\r\nSubject: hello\r\n";
const EIGHT_BIT: &[u8] = b"From: a@example.org\r\nSubject: caf\xc3\xa9 = 100%, written without any encoding by an old \
    program somewhere \r\n\tfolded\r\n";

fn recipient() -> RecipientReport<'static> {
    RecipientReport {
        recipient: "nobody@example.net",
        original: "",
        action: Action::Failed,
        status: EnhancedCode(5, 1, 1),
        reason: Reason::NoSuchRecipient,
        remote: "mx.example.net[192.0.2.25]:25",
        code: 550,
        text: "5.1.1 <nobody@example.net>: Recipient address rejected:\nUser unknown in the table of local recipients",
        attempts: 1,
        last_attempt: Some(NOW - 1000),
        retry_until: None,
    }
}

fn report<'a>(recipients: &'a [RecipientReport<'a>], original: Original<'a>) -> Report<'a> {
    Report {
        reporter: "mx.example.org",
        to: "a@example.org",
        id: MessageId(2),
        now: NOW,
        boundary: "boundary0001",
        envelope_id: "",
        arrived: NOW - 60_000,
        original_id: MessageId(1),
        recipients,
        ret: DsnReturn::Unset,
        original,
        eight_bit: false,
    }
}

fn golden(name: &str, written: &Written) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reports").join(name);
    if std::env::var_os("ANGARIUM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &written.bytes).expect("golden file is writable");
    }
    let want = std::fs::read(&path).expect("golden file is there");
    assert_eq!(String::from_utf8_lossy(&written.bytes), String::from_utf8_lossy(&want), "{name}");
    assert_lines(&written.bytes);
}

/// CRLF only, no line over the hard limit, no control characters.
fn assert_lines(bytes: &[u8]) {
    assert!(bytes.ends_with(b"\r\n"));
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("a line that does not end with CRLF");
        assert!(text.len() <= 998, "{}", text.len());
        assert!(!text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'), "{text:?}");
    }
}

#[test]
fn failed_with_the_message_whole() {
    let other = RecipientReport {
        recipient: "full@example.com",
        original: "rfc822;was+this@example.org",
        status: EnhancedCode(5, 4, 7),
        reason: Reason::Expired,
        code: 0,
        text: "no connection in 5 days",
        remote: "",
        attempts: 42,
        ..recipient()
    };
    let recipients = [recipient(), other];
    let original = Original { header: HEADER, body: Some(b"A body.\r\n.with a dot\r\n") };
    let written = Report { envelope_id: "QQ+314", ..report(&recipients, original) }.write();
    assert_eq!((written.body_type, written.smtputf8), (BodyType::SevenBit, false));
    golden("01-failed-full.eml", &written);
}

#[test]
fn delayed() {
    let recipients = [RecipientReport {
        action: Action::Delayed,
        status: EnhancedCode(4, 4, 1),
        reason: Reason::Connect,
        code: 0,
        text: "connection refused",
        attempts: 7,
        retry_until: Some(NOW + 86_400_000),
        ..recipient()
    }];
    let original = Original { header: HEADER, body: Some(b"A body.\r\n") };
    golden("02-delayed.eml", &report(&recipients, original).write());
}

#[test]
fn header_with_8_bit_bytes() {
    let recipients = [recipient()];
    let original = Original { header: EIGHT_BIT, body: Some(b"caf\xc3\xa9\r\n") };
    let written = report(&recipients, original).write();
    assert_eq!(written.body_type, BodyType::SevenBit);
    golden("03-eight-bit-original.eml", &written);
    let whole = Report { eight_bit: true, ..report(&recipients, original) }.write();
    assert_eq!((whole.body_type, whole.smtputf8), (BodyType::EightBitMime, false));
    golden("04-eight-bit-whole.eml", &whole);
}

#[test]
fn utf8_addresses() {
    let recipients = [RecipientReport { recipient: "j\u{f6}rg@b\u{fc}cher.example", ..recipient() }];
    let original = Original { header: EIGHT_BIT, body: Some(b"caf\xc3\xa9\r\n") };
    let written = report(&recipients, original).write();
    assert_eq!((written.body_type, written.smtputf8), (BodyType::EightBitMime, false));
    assert!(Report { to: "j\u{f6}rg@example.org", ..report(&recipients, original) }.write().smtputf8);
    golden("05-utf8.eml", &written);
}

#[test]
fn delivered() {
    let recipients = [RecipientReport {
        action: Action::Delivered,
        status: EnhancedCode(2, 0, 0),
        reason: Reason::Done,
        code: 250,
        text: "2.0.0 Ok",
        ..recipient()
    }];
    golden("06-delivered.eml", &report(&recipients, Original { header: HEADER, body: None }).write());
}

fn is_whole(report: &Report<'_>) -> bool {
    let bytes = report.write().bytes;
    memchr::memmem::find(&bytes, b"message/rfc822").is_some()
}

#[test]
fn goes_back_whole_only_when_it_may() {
    let recipients = [recipient()];
    let larger = b"A line, and another one\r\n".repeat(MAX_RETURNED / 25 + 1)[..=MAX_RETURNED - HEADER.len()].to_vec();
    let body = larger[1..].to_vec();
    let small = report(&recipients, Original { header: HEADER, body: Some(&body) });
    assert!(is_whole(&small));
    assert!(is_whole(&Report { ret: DsnReturn::Full, ..small }));
    assert!(!is_whole(&Report { ret: DsnReturn::Headers, ..small }));
    assert!(!is_whole(&Report { original: Original { header: HEADER, body: Some(&larger) }, ..small }));
    assert!(!is_whole(&Report { original: Original { header: HEADER, body: None }, ..small }));
    let delayed = [RecipientReport { action: Action::Delayed, ..recipient() }];
    assert!(!is_whole(&Report { recipients: &delayed, ..small }));
}

#[test]
fn a_large_header_is_cut_at_a_line() {
    let recipients = [recipient()];
    let header = b"X-Filler: 0123456789\r\n".repeat(10_000);
    let written = report(&recipients, Original { header: &header, body: None }).write();
    assert!(written.bytes.len() < 60_000);
    assert_lines(&written.bytes);
}

#[test]
fn lines_that_are_too_long_to_travel_are_encoded() {
    let recipients = [recipient()];
    let header = [&b"Subject: "[..], &vec![b'x'; 60_000], b"\r\n"].concat();
    for to in ["a@example.org", "j\u{f6}rg@example.org"] {
        let original = Original { header: &header, body: Some(b"short\r\n") };
        let written = Report { to, ..report(&recipients, original) }.write();
        assert_lines(&written.bytes);
        let original = Original { header: HEADER, body: Some(&header) };
        assert_lines(&Report { to, ..report(&recipients, original) }.write().bytes);
    }
}

#[test]
fn the_boundary_is_lengthened_when_the_original_holds_it() {
    let recipients = [recipient()];
    let body = b"--=boundary0001=\r\nContent-Type: text/html\r\n\r\nforged\r\n--=boundary0001=--\r\n";
    let bytes = report(&recipients, Original { header: HEADER, body: Some(body) }).write().bytes;
    let text = String::from_utf8(bytes).expect("ASCII");
    assert!(text.contains("boundary=\"=boundary0001=a\""));
    assert_eq!(text.matches("\r\n--=boundary0001=a").count(), 4);
}

#[test]
fn many_recipients_are_described_up_to_a_bound() {
    let recipients = vec![recipient(); 1000];
    let bytes = report(&recipients, Original { header: HEADER, body: None }).write().bytes;
    let text = String::from_utf8(bytes).expect("ASCII");
    assert!(text.contains("And 950 more"));
    assert_eq!(text.matches("\r\nFinal-Recipient: ").count(), 1000);
}

#[test]
fn statuses() {
    assert_eq!(status_of(Outcome::Failed, Reason::NoSuchRecipient), EnhancedCode(5, 1, 1));
    assert_eq!(status_of(Outcome::Failed, Reason::Expired), EnhancedCode(5, 4, 7));
    assert_eq!(status_of(Outcome::Deferred, Reason::Connect), EnhancedCode(4, 4, 1));
    assert_eq!(status_of(Outcome::Delivered, Reason::Done), EnhancedCode(2, 0, 0));
    assert_eq!(status_of(Outcome::Failed, Reason::Conversion), EnhancedCode(5, 6, 3));
}

proptest! {
    #[test]
    fn nothing_a_peer_says_makes_a_second_field(
        text in "(.|\r|\n|\\PC|X: y){0,600}",
        address in "(.|\r|\n){0,90}",
        envelope_id in "([\x00-\u{7f}]|\\+0D\\+0A|\\+0AX: y){0,40}",
        remote in "(.|\r|\n){0,40}",
        code in prop_oneof![Just(0u16), Just(550)],
        header in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let original = format!("rfc822;{address}");
        let recipients = [RecipientReport { text: &text, original: &original, remote: &remote, code, ..recipient() }];
        let header = [&b"X: "[..], &header].concat();
        let clean: Vec<u8> = header.iter().copied().filter(|byte| !byte.is_ascii_control()).chain(*b"\r\n").collect();
        let written = Report { envelope_id: &envelope_id, ..report(&recipients, Original { header: &clean, body: None }) }.write();
        assert_lines(&written.bytes);
        let head = Header::scan(&written.bytes);
        prop_assert_eq!((head.fields().len(), head.malformed_count()), (8, 0));
        let bytes = &written.bytes[..];
        let parts: Vec<usize> = memchr::memmem::find_iter(bytes, b"\r\n--=boundary0001=").collect();
        prop_assert_eq!(parts.len(), 4);
        // The status part: two blocks of fields, every line a field of ours.
        let status = Header::scan(&bytes[parts[1] + 2 + 18..]);
        let fields = &bytes[parts[1] + 20 + status.body_start()..parts[2]];
        let own = ["Reporting-MTA", "Original-Envelope-Id", "Arrival-Date", "Original-Recipient", "Final-Recipient",
            "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"];
        let mut rest = fields;
        for _ in 0..2 {
            let block = Header::scan(rest);
            for field in block.fields() {
                prop_assert!(own.iter().any(|name| field.has_name(rest, name)), "{:?}", String::from_utf8_lossy(rest));
            }
            rest = &rest[block.body_start()..];
        }
        prop_assert!(rest.is_empty());
        prop_assert!(!address.is_ascii() || written.bytes.is_ascii());
    }
}
