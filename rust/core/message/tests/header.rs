//! The header scan on any bytes: never a panic, always ranges that are the header again when put together.

use angarium_message::header::{MAX_FIELDS, MAX_HEADER};
use angarium_message::{Header, Overflow, edit, marks};
use proptest::prelude::*;

/// What a message looks like, more or less, so that the interesting rows are met often.
fn messy() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"Received: from a by b".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\t:".to_vec()),
        Just(b"Subject : caf\xe9".to_vec()),
        Just(b":".to_vec()),
        Just(b"no colon here".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn fields_are_the_header(data in messy()) {
        let header = Header::scan(&data);
        let mut at = 0;
        for field in header.fields() {
            prop_assert_eq!(field.range().start, at);
            prop_assert!(field.range().end > at);
            let (name, value) = (field.name_range(), field.value_range(&data));
            prop_assert!(name.start == at && name.end <= value.start || !field.is_named());
            prop_assert!(value.end <= field.range().end);
            at = field.range().end;
        }
        prop_assert_eq!(header.bytes(), &data[..at]);
        let between = &data[at..header.body_start()];
        prop_assert!(between.is_empty() || between == b"\n" || between == b"\r\n");
        prop_assert!(header.body_start() == data.len() || !between.is_empty());
    }

    #[test]
    fn agrees_with_a_scan_line_by_line(data in messy()) {
        let header = Header::scan(&data);
        let found: Vec<&[u8]> = header.fields().iter().map(|field| &data[field.range()]).collect();
        prop_assert_eq!(found, plain_scan(&data));
    }

    #[test]
    fn the_rest_never_panics(data in messy()) {
        let header = Header::scan(&data);
        let _ = (header.received_count(), header.malformed_count(), header.value("Subject"));
        let _ = (marks::is_auto_submitted(&header), marks::is_bulk(&header), marks::is_report(&header));
    }

    #[test]
    fn what_is_kept_and_what_is_skipped_is_all(data in messy()) {
        let header = Header::scan(&data);
        let skipped = edit::ranges_of(&header, &data, &["received", "Subject"]);
        let kept: Vec<u8> = edit::kept(&data, &skipped).flatten().copied().collect();
        let length: usize = skipped.iter().map(ExactSizeIterator::len).sum();
        prop_assert_eq!(kept.len() + length, data.len());
        prop_assert_eq!(header.received_count() == 0 && !header.has("Subject"), skipped.is_empty());
    }
}

/// The same rules, slowly: lines first, then continuation.
fn plain_scan(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let continues = !starts.is_empty() && matches!(line[0], b' ' | b'\t');
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        if !continues {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([at]);
    starts.iter().zip(ends).map(|(start, end)| &data[*start..end]).collect()
}

#[test]
fn reads() {
    let data = b"Received: a\r\n\tb\r\nsubject : x\r\nFr om: no\r\njunk\r\nDate:\r\nX: caf\xe9\r\n\r\nFrom: body\r\n";
    let header = Header::scan(data);
    let names: Vec<&[u8]> = header.fields().iter().map(|field| header.name_of(field)).collect();
    assert_eq!(names, [&b"Received"[..], b"subject", b"", b"", b"Date", b"X"]);
    assert_eq!(header.value("RECEIVED"), Some(&b" a\r\n\tb"[..]));
    assert_eq!(header.value("Subject"), Some(&b" x"[..]));
    assert_eq!(header.value("date"), Some(&b""[..]));
    assert_eq!(header.value("x"), Some(&b" caf\xe9"[..]));
    assert!(!header.has("From") && !header.has("Fr om"));
    assert_eq!((header.received_count(), header.malformed_count()), (1, 2));
    assert_eq!(&data[header.body_start()..], b"From: body\r\n");
}

#[test]
fn edges() {
    for (data, fields, body) in [
        (&b""[..], 0, 0),
        (b"\r\n", 0, 2),
        (b"\nbody", 0, 1),
        (b"A: b", 1, 4),
        (b"A: b\r\n", 1, 6),
        (b"A: b\r\n\r\n", 1, 8),
        (b" starts with a fold\r\nA: b\r\n\r\nx", 2, 29),
        (b"A: b\r\n \r\n\r\nx", 1, 11),
        (b"\r", 1, 1),
    ] {
        let header = Header::scan(data);
        assert_eq!((header.fields().len(), header.body_start()), (fields, body), "{data:?}");
        assert_eq!(header.overflow(), None);
    }
}

#[test]
fn stops_at_its_bounds() {
    let long = [b"A: ".to_vec(), vec![b'x'; MAX_HEADER], b"\r\n\r\nbody".to_vec()].concat();
    let header = Header::scan(&long);
    assert_eq!((header.fields().len(), header.overflow()), (1, Some(Overflow::Bytes)));
    assert_eq!(header.body_start(), MAX_HEADER);

    let many = b"A: b\r\n".repeat(MAX_FIELDS + 5);
    let header = Header::scan(&many);
    assert_eq!((header.fields().len(), header.overflow()), (MAX_FIELDS, Some(Overflow::Fields)));

    // A header that fills the bound exactly is no overflow.
    let full = [b"A: ".to_vec(), vec![b'x'; MAX_HEADER - 7], b"\r\n\r\n".to_vec(), b"body".to_vec()].concat();
    assert_eq!(Header::scan(&full).overflow(), None);
    assert_eq!(Header::scan(&full).body_start(), MAX_HEADER);
}

#[test]
fn marks_are_read() {
    for (header, auto, bulk, report) in [
        ("Subject: hi", false, false, false),
        ("Auto-Submitted: no (human)", false, false, false),
        ("Auto-Submitted: auto-replied; x", true, false, false),
        ("auto-submitted:\r\n auto-generated", true, false, false),
        ("Precedence: Bulk", false, true, false),
        ("Precedence: first-class", false, false, false),
        ("List-Id: <a.b>", false, true, false),
        ("Content-Type: multipart/report; report-type=x", false, false, true),
    ] {
        let scanned = Header::scan(header.as_bytes());
        let found = (marks::is_auto_submitted(&scanned), marks::is_bulk(&scanned), marks::is_report(&scanned));
        assert_eq!(found, (auto, bulk, report), "{header}");
    }
    let scanned = Header::scan(b"Delivered-To: a@b.example\r\nDelivered-To: C@D.example\r\n");
    assert!(marks::was_delivered_to(&scanned, "c@d.example") && !marks::was_delivered_to(&scanned, "x@y"));
}

#[test]
fn what_no_program_may_answer() {
    for (header, why) in [
        ("From: Ann <ann@b.example>\r\nSubject: hi", None),
        ("Auto-Submitted: no\r\nFrom: ann@b.example", None),
        ("Auto-Submitted: auto-generated\r\nList-Id: <a>", Some("auto-submitted")),
        ("Content-Type: multipart/report", Some("report")),
        ("Precedence: list", Some("list")),
        ("Return-Path: <>\r\nFrom: ann@b.example", Some("null-sender")),
        ("Return-Path: <ann@b.example>", None),
        ("X-Auto-Response-Suppress: All", Some("marked")),
        ("From: Mail <MAILER-DAEMON@b.example>", Some("nobody")),
        ("From: owner-list@b.example", Some("nobody")),
        ("From: list-request@b.example", Some("nobody")),
        ("From: no-reply@b.example", Some("nobody")),
    ] {
        assert_eq!(marks::automatic(&Header::scan(header.as_bytes())), why, "{header}");
    }
}
