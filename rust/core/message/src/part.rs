//! One part of a scanned message: its place, its header, what its fields say, and its content decoded on demand.
//!
//! Nothing is kept: each answer is read from the bytes when it is asked for. Where a field stands twice the first
//! counts, as with most readers; [`crate::findings`] tells of the others.

use std::borrow::Cow;
use std::ops::Range;

use crate::charset::{self, Text};
use crate::header::Field;
use crate::parameter::{ContentType, Parameters};
use crate::scan::{Kind, Node, Tree};
use crate::transfer::{Decoded, Encoding};
use crate::words;

/// A part in its tree and bytes.
#[derive(Debug, Clone, Copy)]
pub struct Part<'t> {
    tree: &'t Tree,
    data: &'t [u8],
    number: usize,
}

impl<'t> Part<'t> {
    pub(crate) fn new(tree: &'t Tree, data: &'t [u8], number: usize) -> Self {
        Self { tree, data, number }
    }

    fn node(&self) -> &'t Node {
        &self.tree.nodes[self.number]
    }

    /// Its place among all parts, in the order of the bytes; the message itself is 0.
    pub fn number(&self) -> usize {
        self.number
    }

    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// How many parts it stands in.
    pub fn depth(&self) -> usize {
        usize::from(self.node().depth)
    }

    pub fn parent(&self) -> Option<Part<'t>> {
        self.tree.part(self.data, self.node().parent as usize)
    }

    /// The parts right inside.
    pub fn children(&self) -> impl Iterator<Item = Part<'t>> + use<'t> {
        let (tree, data, end) = (self.tree, self.data, self.node().next as usize);
        let mut number = self.number + 1;
        std::iter::from_fn(move || {
            let part = (number < end).then(|| Part::new(tree, data, number))?;
            number = part.node().next as usize;
            Some(part)
        })
    }

    /// It and all parts inside it.
    pub fn subtree(&self) -> impl Iterator<Item = Part<'t>> + use<'t> {
        let (tree, data) = (self.tree, self.data);
        (self.number..self.node().next as usize).map(move |number| Part::new(tree, data, number))
    }

    /// Header and body.
    pub fn range(&self) -> Range<usize> {
        self.node().start as usize..self.node().end as usize
    }

    /// The header with the empty line behind it.
    pub fn header_range(&self) -> Range<usize> {
        self.node().start as usize..self.node().body as usize
    }

    /// The header as it stands, with the empty line behind it.
    pub fn header(&self) -> &'t [u8] {
        &self.data[self.header_range()]
    }

    pub(crate) fn bytes_of(&self, range: Range<usize>) -> &'t [u8] {
        &self.data[range]
    }

    /// The body as it stands, encoded; without the line end that belongs to the delimiter.
    pub fn body_range(&self) -> Range<usize> {
        self.node().body as usize..self.node().end as usize
    }

    pub fn body(&self) -> &'t [u8] {
        &self.data[self.body_range()]
    }

    /// A multipart ended with its own closing delimiter.
    pub fn is_closed(&self) -> bool {
        self.node().closed
    }

    pub fn fields(&self) -> &'t [Field] {
        let (first, end) = self.node().fields;
        &self.tree.fields[first as usize..end as usize]
    }

    /// The fields of this name, from the top.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'t Field> + use<'t, 'n> {
        let data = self.data;
        self.fields().iter().filter(move |field| field.has_name(data, name))
    }

    /// The value of the first field of this name, as it stands: folds inside, no line end at its end.
    pub fn value(&self, name: &str) -> Option<&'t [u8]> {
        self.all(name).next().map(|field| self.value_of(field))
    }

    pub fn value_of(&self, field: &Field) -> &'t [u8] {
        &self.data[field.value_range(self.data)]
    }

    pub fn name_of(&self, field: &Field) -> &'t [u8] {
        &self.data[field.name_range()]
    }

    /// A field as text: unfolded, trimmed, encoded words decoded.
    pub fn text_of(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| words::decode(value.trim_ascii()))
    }

    fn field_at(&self, at: u32) -> Option<&'t [u8]> {
        self.tree.fields.get(at as usize).map(|field| self.value_of(field))
    }

    /// What the Content-Type says; text/plain where it says nothing, message/rfc822 in a digest (RFC 2046 5.1.5).
    pub fn content_type(&self) -> ContentType<'t> {
        let read = self.field_at(self.node().content_type).map(ContentType::read);
        match read.filter(|content| !content.main.is_empty()) {
            Some(content) => content,
            None if self.node().in_digest => ContentType { main: b"message", sub: b"rfc822" },
            None => ContentType::TEXT_PLAIN,
        }
    }

    /// The parameters of the Content-Type.
    pub fn parameters(&self) -> Parameters<'t> {
        Parameters::of(self.field_at(self.node().content_type).unwrap_or_default())
    }

    pub fn charset(&self) -> Option<Cow<'t, [u8]>> {
        self.parameters().plain("charset")
    }

    pub fn encoding(&self) -> Encoding {
        self.field_at(self.node().encoding).map_or(Encoding::SevenBit, Encoding::read)
    }

    /// `attachment`, `inline` or what stands there, in lower case (RFC 2183 2).
    pub fn disposition(&self) -> Option<String> {
        let value = self.value("Content-Disposition")?;
        Some(ContentType::read(value).name()).filter(|word| !word.is_empty())
    }

    /// The name to save it under: `filename` of the disposition, else `name` of the type. Never a path to be trusted.
    pub fn file_name(&self) -> Option<String> {
        let disposition = self.value("Content-Disposition").map(Parameters::of);
        let name = disposition.and_then(|parameters| parameters.text("filename"));
        name.or_else(|| self.parameters().text("name")).filter(|name| !name.is_empty())
    }

    /// The Content-ID without its angle brackets (RFC 2392).
    pub fn content_id(&self) -> Option<String> {
        let value = self.value("Content-ID")?.trim_ascii();
        let id = value.strip_prefix(b"<").unwrap_or(value);
        let id = id.strip_suffix(b">").unwrap_or(id);
        Some(String::from_utf8_lossy(id).into_owned())
    }

    /// The boundary by which it was read.
    pub fn boundary(&self) -> Option<Cow<'t, [u8]>> {
        self.parameters().boundary()
    }

    /// The body without its transfer encoding. Multiparts have none (RFC 2045 6.4).
    #[must_use]
    pub fn decode(&self) -> Decoded<'t> {
        let encoding = if self.kind() == Kind::Leaf { self.encoding() } else { Encoding::Binary };
        encoding.decode(self.body())
    }

    /// The body as text, in its charset.
    #[must_use]
    pub fn text(&self) -> Text<'t> {
        let decoded = self.decode();
        let label = self.charset().unwrap_or_default();
        let flaws = decoded.flaws;
        let Text { text, flaws: found } = match decoded.bytes {
            Cow::Borrowed(bytes) => charset::decode(&label, bytes),
            Cow::Owned(bytes) => {
                let Text { text, flaws } = charset::decode(&label, &bytes);
                Text { text: Cow::Owned(text.into_owned()), flaws }
            }
        };
        Text { text, flaws: flaws.with(found) }
    }

    /// Something to save rather than to show: said so, or no text and not inside multipart/related.
    pub fn is_attachment(&self) -> bool {
        match self.disposition().as_deref() {
            Some("attachment") => true,
            Some("inline") => !self.is_shown(),
            _ => self.kind() != Kind::Multipart && self.number != 0 && !self.is_shown(),
        }
    }

    fn is_shown(&self) -> bool {
        let content = self.content_type();
        let in_related = self.parent().is_some_and(|parent| parent.content_type().subtype_is("related"));
        content.is("text") || content.is("multipart") || in_related
    }
}
