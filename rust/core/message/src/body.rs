//! Facts about bytes of a body at the speed of memory, and its lines for a Maildir.

use memchr::{memchr, memrchr};

/// Whether any byte has its high bit set: the message needs 8BITMIME (RFC 6152), its header SMTPUTF8 (RFC 6531).
#[must_use]
pub fn has_8bit(bytes: &[u8]) -> bool {
    !bytes.is_ascii()
}

/// Whether any line is longer than `limit`, its line end not counted.
#[must_use]
pub fn has_line_over(limit: usize, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while rest.len() > limit {
        match memrchr(b'\n', &rest[..limit + 2.min(rest.len() - limit)]) {
            // Lines that end within the window are short, whichever they are.
            Some(lf) => rest = &rest[lf + 1..],
            None => return true,
        }
    }
    false
}

/// CRLF to LF over chunks, as Maildir keeps lines. A CR that no LF follows stays what it is.
#[derive(Debug, Default)]
pub struct ToLf {
    /// The last chunk ended with a CR that is not written yet.
    held_cr: bool,
}

impl ToLf {
    /// Appends the next chunk.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = chunk.first() else { return };
        if std::mem::take(&mut self.held_cr) && first != b'\n' {
            out.push(b'\r');
        }
        out.reserve(chunk.len());
        for piece in lf_pieces(chunk) {
            out.extend_from_slice(piece);
        }
        if chunk.last() == Some(&b'\r') {
            out.pop();
            self.held_cr = true;
        }
    }

    /// The end of the body: a CR still held is written.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.held_cr {
            out.push(b'\r');
        }
    }
}

/// The bytes without the CR of each CRLF, as slices; one for each line.
pub fn lf_pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, next) = next_crlf(rest).map_or((rest, &rest[rest.len()..]), |cr| (&rest[..cr], &rest[cr + 1..]));
        rest = next;
        Some(piece)
    })
    .filter(|piece| !piece.is_empty())
}

/// Where the CR of the next CRLF stands.
fn next_crlf(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr(b'\n', &bytes[from..]) {
        let lf = from + found;
        if lf > 0 && bytes[lf - 1] == b'\r' {
            return Some(lf - 1);
        }
        from = lf + 1;
    }
    None
}
