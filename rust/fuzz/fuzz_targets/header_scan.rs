//! Any bytes: the fields that the scan finds are the header, and edits of it keep and skip every byte once.
#![no_main]

use angarium_message::{Header, edit, marks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let header = Header::scan(data);
    let mut at = 0;
    for field in header.fields() {
        assert_eq!(field.range().start, at);
        assert!(field.range().end > at);
        assert!(field.value_range(data).end <= field.range().end);
        at = field.range().end;
    }
    assert_eq!(header.bytes().len(), at);
    assert!(at <= header.body_start() && header.body_start() <= data.len());
    let skipped = edit::ranges_of(&header, data, &["Received", "Return-Path"]);
    let kept: usize = edit::kept(data, &skipped).map(<[u8]>::len).sum();
    assert_eq!(kept + skipped.iter().map(ExactSizeIterator::len).sum::<usize>(), data.len());
    let _ = (marks::is_auto_submitted(&header), marks::is_bulk(&header), marks::is_report(&header));
});
