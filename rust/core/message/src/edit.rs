//! Edits of a header as byte ranges: what to pass over when it is written, and what stands there instead in front.
//!
//! The message itself is never changed or copied: fields are added as a vector of their own in front of it, and a
//! removed field is a range that the writer skips.

use std::ops::Range;

use crate::header::Header;

/// Where the fields of these names stand, in order, neighbours joined.
pub fn ranges_of(header: &Header<'_>, data: &[u8], names: &[&str]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for field in header.fields() {
        if !names.iter().any(|name| field.has_name(data, name)) {
            continue;
        }
        let range = field.range();
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// What is left of `data` without the ranges, which are in order and do not overlap.
pub fn kept<'a>(data: &'a [u8], skipped: &'a [Range<usize>]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(0).chain(skipped.iter().map(|range| range.end));
    let ends = skipped.iter().map(|range| range.start).chain(std::iter::once(data.len()));
    starts.zip(ends).map(|(start, end)| &data[start..end]).filter(|piece| !piece.is_empty())
}

/// One change: these bytes go, that text stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: Vec<u8>,
}

impl Edit {
    pub fn new(range: Range<usize>, text: impl Into<Vec<u8>>) -> Self {
        Self { range, text: text.into() }
    }

    pub fn insert(at: usize, text: impl Into<Vec<u8>>) -> Self {
        Self::new(at..at, text)
    }
}

/// The bytes with the edits made, everything else as it was. Insertions at one place keep their order and stand in front of what replaces; of two that
/// overlap the later one counts only from where the earlier ended.
#[must_use]
pub fn apply(data: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let grown: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = Vec::with_capacity(data.len() + grown);
    let mut at = 0;
    for edit in &edits {
        out.extend_from_slice(&data[at..edit.range.start.max(at)]);
        out.extend_from_slice(&edit.text);
        at = at.max(edit.range.end);
    }
    out.extend_from_slice(&data[at..]);
    out
}
