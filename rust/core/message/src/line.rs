//! Writing of header lines: words set under 78 columns, and nothing let through that could end a line.

use std::fmt;

/// RFC 5322 2.1.1: lines should have no more than 78 characters without CRLF.
pub const WIDTH: usize = 78;
/// RFC 5322 2.1.1: lines must have no more than 998.
pub const HARD_WIDTH: usize = 998;

/// One field in the making: words are put behind one another and folded before [`WIDTH`].
#[derive(Debug)]
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
    began: usize,
    utf8: bool,
}

impl<'a> Line<'a> {
    /// Begins with the name and its colon. `utf8`: bytes outside ASCII may stand in the field (RFC 6532).
    pub fn new(out: &'a mut Vec<u8>, name: &str, utf8: bool) -> Self {
        let began = out.len();
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Self { out, began, utf8 }
    }

    /// A space, or a fold if the line would get too long, and the word, cleaned. A word longer than a line may be
    /// is cut into lines at [`HARD_WIDTH`].
    pub fn word(&mut self, word: &str) -> &mut Self {
        let column = self.out.len() - self.began;
        // A fold right behind the name would leave a line of nothing but the name.
        let fresh = self.out.last() == Some(&b':') && column < WIDTH / 2;
        if column + 1 + word.len() > WIDTH && !fresh {
            self.fold();
        } else {
            self.out.push(b' ');
        }
        let room = HARD_WIDTH.saturating_sub(self.out.len() - self.began);
        if word.len() <= room && word.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.out.extend_from_slice(word.as_bytes());
        } else {
            self.cleaned(word);
        }
        self
    }

    /// The words of a text, one by one.
    pub fn words(&mut self, text: &str) -> &mut Self {
        for word in text.split_ascii_whitespace() {
            self.word(word);
        }
        self
    }

    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn cleaned(&mut self, word: &str) {
        for c in word.chars() {
            let c = clean(c, self.utf8);
            if self.out.len() - self.began + c.len_utf8() > HARD_WIDTH {
                self.fold();
            }
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.began = self.out.len();
        self.out.push(b' ');
    }
}

/// The character itself, or `?` for one that may not stand in a header line.
pub fn clean(c: char, utf8: bool) -> char {
    // U+2028 and U+2029 end lines for some readers, though not for RFC 6532.
    let breaks = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if breaks || (!utf8 && !c.is_ascii()) { '?' } else { c }
}

pub(crate) fn push(out: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = std::io::Write::write_fmt(out, args);
}
