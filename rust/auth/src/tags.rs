//! Tag lists, `name=value; name=value`: the syntax of DKIM, ARC and DMARC (RFC 6376 3.2).
//!
//! A list is split once and borrowed. Two tags of one name, a tag without `=` or a bad name make the whole list bad.
//! Values come without the white space around them; folds inside stay for whoever reads the value.

/// Tags in one list. DKIM knows 14, DMARC 12; unknown ones are allowed, but not without end.
pub const MAX_TAGS: usize = 64;

/// A tag list, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a> {
    pairs: Vec<(&'a str, &'a [u8])>,
}

/// Why a tag list cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("there is nothing between two semicolons")]
    Empty,
    #[error("a tag has no '='")]
    NoValue,
    #[error("a tag name is not letters, digits and underscores")]
    Name,
    #[error("a tag stands twice")]
    Twice,
    #[error("there are more than 64 tags")]
    TooMany,
}

impl<'a> Tags<'a> {
    /// Reads a list as RFC 6376 3.2 has it: one semicolon between two tags, perhaps one at the end.
    pub fn parse(list: &'a [u8]) -> Result<Self, TagError> {
        let list = trim(list);
        let list = list.strip_suffix(b";").unwrap_or(list);
        if !list.is_empty() && list.split(|byte| *byte == b';').any(|item| trim(item).is_empty()) {
            return Err(TagError::Empty);
        }
        Self::parse_record(list)
    }

    /// Reads a list that a person typed into a zone file: semicolons may stand anywhere.
    pub fn parse_record(list: &'a [u8]) -> Result<Self, TagError> {
        let mut tags = Self { pairs: Vec::with_capacity(12) };
        for item in list.split(|byte| *byte == b';') {
            let item = trim(item);
            if item.is_empty() {
                continue;
            }
            let (name, value) = split_tag(item)?;
            if tags.get(name).is_some() {
                return Err(TagError::Twice);
            }
            if tags.pairs.len() == MAX_TAGS {
                return Err(TagError::TooMany);
            }
            tags.pairs.push((name, value));
        }
        Ok(tags)
    }

    /// The value of a tag; names are case-sensitive (RFC 6376 3.2).
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The value as text, or `None` if it is absent or no UTF-8.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub fn first(&self) -> Option<(&'a str, &'a [u8])> {
        self.pairs.first().copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.pairs.iter().copied()
    }
}

fn split_tag(item: &[u8]) -> Result<(&str, &[u8]), TagError> {
    let equals = memchr::memchr(b'=', item).ok_or(TagError::NoValue)?;
    let name = trim(&item[..equals]);
    let good = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let name = std::str::from_utf8(name).ok().filter(|_| good).ok_or(TagError::Name)?;
    Ok((name, trim(&item[equals + 1..])))
}

/// Without folding white space at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// A base64 value without the white space that may stand anywhere in it (RFC 6376 2.10).
pub fn base64(value: &[u8]) -> Option<Vec<u8>> {
    let clean: Vec<u8> = value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64_simd::STANDARD.decode_to_vec(&clean).ok()
}

/// An unsigned decimal number of at most 12 digits, enough for times until the year 33658.
pub fn number(value: &[u8]) -> Option<u64> {
    let good = !value.is_empty() && value.len() <= 12 && value.iter().all(u8::is_ascii_digit);
    good.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The items of a colon-separated list, trimmed.
pub fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b':').map(trim)
}

/// A field as it stands, with the value of its tag `b` cut out (RFC 6376 3.7), white space around it too.
pub fn without_signature(field: &[u8]) -> Vec<u8> {
    let Some(colon) = memchr::memchr(b':', field) else { return field.to_vec() };
    let mut at = colon + 1;
    while at < field.len() {
        let end = memchr::memchr(b';', &field[at..]).map_or(field.len(), |found| at + found);
        if let Some(equals) = memchr::memchr(b'=', &field[at..end])
            && trim(&field[at..at + equals]) == b"b"
        {
            let mut kept = field[..=at + equals].to_vec();
            kept.extend_from_slice(&field[end..]);
            return kept;
        }
        at = end + 1;
    }
    field.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let tags = Tags::parse(b" v=1; a = rsa-sha256 ;\r\n bh=ab\r\n c=;").unwrap();
        assert_eq!(tags.get("a"), Some(&b"rsa-sha256"[..]));
        assert_eq!(tags.get("bh"), Some(&b"ab\r\n c="[..]));
        assert_eq!(tags.get("c"), None);
        assert_eq!(Tags::parse(b"a=1; a=2"), Err(TagError::Twice));
        assert_eq!(Tags::parse(b"a; b=2"), Err(TagError::NoValue));
        assert_eq!(Tags::parse(b"a b=2"), Err(TagError::Name));
        assert_eq!(Tags::parse(b"a=1;; b=2"), Err(TagError::Empty));
        assert!(Tags::parse_record(b"a=1;; b=2").is_ok());
    }

    #[test]
    fn the_signature_is_cut_out() {
        assert_eq!(without_signature(b"X: a=1; b = x\r\n y; c=2\r\n"), b"X: a=1; b =; c=2\r\n");
        assert_eq!(without_signature(b"X: bh=1; b=x\r\n"), b"X: bh=1; b=");
        assert_eq!(without_signature(b"X: bh=1\r\n"), b"X: bh=1\r\n");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"0123"), Some(123));
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"1234567890123"), None);
    }
}
