//! The header of a message, scanned in one pass into ranges. Nothing is decoded and nothing is copied.
//!
//! A header ends at its first empty line, or with the bytes. Lines end at LF, with or without CR before it. A line
//! that begins with a space or tab continues the field above (RFC 5322 2.2.3). A line that is no field stays in
//! place as a field without a name, so the fields behind one another are always the header, byte for byte. At a
//! bound the scan stops with what it has and says so; what to do about it is the caller's business.

use std::ops::Range;

use memchr::memchr;

/// Bytes of header that are looked at. Exim stops at 1 MiB (`header_maxsize`), Postfix at 100 KiB for each field.
pub const MAX_HEADER: usize = 1 << 20;
/// Fields that are looked at. Go's MIME reader stops at 10,000 as well; real mail has up to a few hundred.
pub const MAX_FIELDS: usize = 10_000;
/// Mail has about 20 fields when it arrives; room for them saves the first growths.
const USUAL_FIELDS: usize = 32;

/// One field, as offsets into the bytes that were scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    start: u32,
    /// Where the name ends: at the colon, or at the space before it (RFC 5322 4.5.8). `start`: no name.
    name_end: u32,
    /// Behind the colon; `start` if there is no name.
    value: u32,
    /// Behind the last line's LF.
    end: u32,
}

/// The bound at which a scan stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overflow {
    #[error("the header is longer than 1 MiB")]
    Bytes,
    #[error("the header has more than 10,000 fields")]
    Fields,
}

/// A scanned header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    data: &'a [u8],
    fields: Vec<Field>,
    end: usize,
    body: usize,
    overflow: Option<Overflow>,
}

impl Field {
    /// The whole field with its line ends.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The name; empty for a line that is no field.
    pub fn name_range(&self) -> Range<usize> {
        self.start as usize..self.name_end as usize
    }

    /// Everything behind the colon, folds inside, without the last line end.
    pub fn value_range(&self, data: &[u8]) -> Range<usize> {
        let mut end = self.end as usize;
        if data[self.value as usize..end].last() == Some(&b'\n') {
            end -= 1;
            end -= usize::from(data[self.value as usize..end].last() == Some(&b'\r'));
        }
        self.value as usize..end
    }

    pub fn is_named(&self) -> bool {
        self.name_end > self.start
    }

    /// Whether the field has this name; case does not matter (RFC 5322 1.2.2).
    pub fn has_name(&self, data: &[u8], name: &str) -> bool {
        // The length decides nearly always, without touching the bytes.
        (self.name_end - self.start) as usize == name.len()
            && data[self.name_range()].eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Header<'a> {
    /// Scans the header at the front of `data`; takes any bytes.
    pub fn scan(data: &'a [u8]) -> Self {
        let mut scanned = Self { data, fields: Vec::with_capacity(USUAL_FIELDS), end: 0, body: 0, overflow: None };
        scanned.run();
        scanned
    }

    fn run(&mut self) {
        let looked_at = &self.data[..self.data.len().min(MAX_HEADER)];
        let mut at = 0;
        while at < looked_at.len() {
            if let Some(length) = empty_line(&looked_at[at..]) {
                self.body = at + length;
                break;
            }
            if self.fields.len() == MAX_FIELDS {
                self.overflow = Some(Overflow::Fields);
                break;
            }
            let field = read_field(looked_at, at);
            at = field.end as usize;
            self.fields.push(field);
        }
        self.end = at;
        self.body = self.body.max(at);
        if self.body == MAX_HEADER && self.data.len() > MAX_HEADER && self.end == self.body {
            self.overflow = Some(Overflow::Bytes);
        }
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The ranges alone, to be kept without the bytes.
    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// The header without the empty line behind it.
    pub fn bytes(&self) -> &'a [u8] {
        &self.data[..self.end]
    }

    /// Where the body begins, behind the empty line.
    pub fn body_start(&self) -> usize {
        self.body
    }

    /// The bound at which the scan stopped; the fields behind it were not seen.
    pub fn overflow(&self) -> Option<Overflow> {
        self.overflow
    }

    /// The fields of this name, from the top.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field> + 's {
        self.fields.iter().filter(move |field| field.has_name(self.data, name))
    }

    /// The value of the first field of this name: behind the colon, folds inside, no line end at its end.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.has_name(self.data, name)).map(|field| self.value_of(field))
    }

    pub fn value_of(&self, field: &Field) -> &'a [u8] {
        &self.data[field.value_range(self.data)]
    }

    pub fn name_of(&self, field: &Field) -> &'a [u8] {
        &self.data[field.name_range()]
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// How many hops have stamped the message (RFC 5321 6.3).
    pub fn received_count(&self) -> usize {
        self.all("Received").count()
    }

    /// Lines that are no fields, kept in place.
    pub fn malformed_count(&self) -> usize {
        self.fields.iter().filter(|field| !field.is_named()).count()
    }
}

/// The length of the empty line at the front, if there is one.
pub(crate) fn empty_line(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Reads the field that starts at `start`, which is before the end of `data`.
pub(crate) fn read_field(data: &[u8], start: usize) -> Field {
    let name = name_length(&data[start..]);
    // A fold right behind the name still leads to the colon's line, so the end is looked for behind the name.
    let from = name.map_or(start, |(_, value)| start + value);
    let end = field_end(data, from);
    let (name_end, value) = name.map_or((start, start), |(length, value)| (start + length, start + value));
    // All offsets fit: a scan looks at no more than 4 GiB.
    Field { start: start as u32, name_end: name_end as u32, value: value as u32, end: end as u32 }
}

/// How long the name at the front is and where the value behind its colon begins; `None` for no name.
fn name_length(line: &[u8]) -> Option<(usize, usize)> {
    // RFC 5322 3.6.8: printable ASCII without colon.
    let length = printable_length(line)?;
    if length == 0 {
        return None;
    }
    // RFC 5322 4.5.8: blanks may stand before the colon.
    let blanks = line[length..].iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    (line[length + blanks] == b':').then_some((length, length + blanks + 1))
}

/// How many bytes at the front may stand in a name; `None` if all may. Eight at a time: names are short, and each
/// field of each message has one.
fn printable_length(line: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let mut at = 0;
    while let Some(eight) = line.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
        let word = u64::from_le_bytes(eight);
        let colon = word ^ (ONES * u64::from(b':'));
        // A bit for each byte under `!`, over `~`, or a colon. Carries and borrows go upwards only, so the lowest is right.
        let under = word.wrapping_sub(ONES * u64::from(b'!')) & !word;
        let over = word.wrapping_add(ONES) | word;
        let found = (under | over | (colon.wrapping_sub(ONES) & !colon)) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    line[at..].iter().position(|byte| !matches!(byte, 33..=57 | 59..=126)).map(|found| at + found)
}

/// Behind the LF of the last line of the field; `from` lies in its first line.
fn field_end(data: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = memchr(b'\n', &data[at..]) {
        at += found + 1;
        if !matches!(data.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    data.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_at_a_time_as_one_by_one(line in proptest::collection::vec(prop_oneof![any::<u8>(), 30u8..60, 120u8..131], 0..40)) {
            let slow = line.iter().position(|byte| !matches!(byte, 33..=57 | 59..=126));
            prop_assert_eq!(printable_length(&line), slow);
        }
    }
}
