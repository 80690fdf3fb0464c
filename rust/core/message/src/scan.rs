//! One pass over a message: the tree of its parts as ranges. Nothing is decoded, nothing is copied.
//!
//! Lines end at LF, with or without CR. A delimiter is a line of `--`, the boundary, perhaps `--`, and blanks
//! (RFC 2046 5.1.1); the line end before it is its own. An outer delimiter ends everything inside. At a bound the
//! scan goes no deeper, says which bound it was and leaves the rest as content; it never fails. Time is linear in
//! the bytes: each line is looked at once, and compared with as many boundaries as are open (at most the depth).

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::header::{Field, MAX_FIELDS, MAX_HEADER, empty_line, read_field};
use crate::parameter::{ContentType, Parameters};
use crate::part::Part;

/// Parts inside parts. Postfix stops at 100 (`mime_nesting_limit`), Dovecot too.
pub const MAX_DEPTH: usize = 100;
/// Parts of one message. Dovecot stops at 10,000.
pub const MAX_PARTS: usize = 10_000;
/// Fields of all parts together; ten for each part that may be.
pub const MAX_ALL_FIELDS: usize = 10 * MAX_PARTS;
/// RFC 2046 5.1.1 allows 70 characters; Postfix reads 2048 (`mime_boundary_length_limit`).
pub const MAX_BOUNDARY: usize = 2048;
/// Offsets have 32 bits; what stands behind is not looked at. SIZE limits end far below.
pub const MAX_MESSAGE: usize = u32::MAX as usize;
/// Usual mail has a score of fields and a handful of parts.
const USUAL_FIELDS: usize = 40;

/// No part, or no field.
const NONE: u32 = u32::MAX;

/// A bound at which the scan went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// More than 4 GiB.
    Message,
    /// A header longer than [`MAX_HEADER`].
    Header,
    /// More fields than [`MAX_FIELDS`] in one header or [`MAX_ALL_FIELDS`] together.
    Fields,
    /// Parts inside parts beyond [`MAX_DEPTH`].
    Depth,
    /// More parts than [`MAX_PARTS`].
    Parts,
    /// A boundary longer than [`MAX_BOUNDARY`].
    Boundary,
}

impl Bound {
    pub fn name(self) -> &'static str {
        ["message", "header", "fields", "depth", "parts", "boundary"][self as usize]
    }
}

/// How a part is made of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Content.
    Leaf,
    /// Parts between delimiters.
    Multipart,
    /// A whole message (message/rfc822, message/global), its only child.
    Message,
}

/// One part, as offsets into the bytes that were scanned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub parent: u32,
    /// Behind the last part inside this one.
    pub next: u32,
    /// Its fields, in the tree's list.
    pub fields: (u32, u32),
    pub start: u32,
    pub body: u32,
    pub end: u32,
    /// The first Content-Type field, in the tree's list.
    pub content_type: u32,
    /// The first Content-Transfer-Encoding field, in the tree's list.
    pub encoding: u32,
    pub depth: u8,
    pub kind: Kind,
    /// It stands in a multipart/digest: without a Content-Type it is a message (RFC 2046 5.1.5).
    pub in_digest: bool,
    /// The closing delimiter of a multipart was seen.
    pub closed: bool,
}

/// The parts of a message, outer before inner, in their order. Belongs to the bytes it was scanned from; they are
/// handed in again where content is asked for.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) fields: Vec<Field>,
    /// Bit `1 << Bound as u8` for each bound that was met.
    bounds: u8,
}

impl Tree {
    /// Scans a whole message. Takes any bytes.
    pub fn scan(data: &[u8]) -> Self {
        let looked_at = &data[..data.len().min(MAX_MESSAGE)];
        let tree = Self { nodes: Vec::with_capacity(4), fields: Vec::with_capacity(USUAL_FIELDS), bounds: 0 };
        let mut scanner = Scanner { data: looked_at, tree, open: Vec::new(), finder: None };
        if looked_at.len() < data.len() {
            scanner.stop(Bound::Message);
        }
        scanner.run();
        scanner.tree
    }

    /// How many parts there are; at least one, the message itself.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The message itself.
    pub fn root<'t>(&'t self, data: &'t [u8]) -> Part<'t> {
        Part::new(self, data, 0)
    }

    /// The part with this number, counted from 0 in the order of the bytes.
    pub fn part<'t>(&'t self, data: &'t [u8], number: usize) -> Option<Part<'t>> {
        (number < self.nodes.len()).then(|| Part::new(self, data, number))
    }

    /// All parts, outer before inner.
    pub fn parts<'t>(&'t self, data: &'t [u8]) -> impl Iterator<Item = Part<'t>> {
        (0..self.nodes.len()).map(move |number| Part::new(self, data, number))
    }

    /// The whole tree for people, a line for each part.
    pub fn outline(&self, data: &[u8]) -> String {
        self.outline_of(data, 0)
    }

    /// A part and what is inside, a line for each: number, type, what it is called, where its body lies.
    pub fn outline_of(&self, data: &[u8], number: usize) -> String {
        let Some(top) = self.part(data, number) else { return String::new() };
        let line = |part: Part<'_>| {
            let indent = "  ".repeat(part.depth() - top.depth());
            let name = part.file_name().map_or(String::new(), |name| format!(" {name:?}"));
            let charset =
                part.charset().map_or(String::new(), |label| format!("; {}", String::from_utf8_lossy(&label)));
            let range = part.body_range();
            let (encoding, size) = (part.encoding().name(), range.len());
            let what = part.content_type().name();
            format!("{indent}{} {what}{charset}, {encoding},{name} {size} bytes at {}\n", part.number(), range.start)
        };
        let mut text: String = top.subtree().map(line).collect::<Vec<_>>().concat();
        text.truncate(text.trim_end().len());
        text
    }

    /// The bounds at which the scan went no further; usually none.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> + '_ {
        const ALL: [Bound; 6] =
            [Bound::Message, Bound::Header, Bound::Fields, Bound::Depth, Bound::Parts, Bound::Boundary];
        ALL.into_iter().filter(|bound| self.bounds & (1 << *bound as u8) != 0)
    }
}

/// A multipart whose delimiters are waited for.
struct Open<'a> {
    boundary: Cow<'a, [u8]>,
    node: u32,
}

/// A delimiter line.
#[derive(Debug, Clone, Copy)]
struct Delimiter {
    /// Which of the open multiparts it is of.
    level: usize,
    closing: bool,
    /// Where the content before it ends: in front of the line end that belongs to the delimiter.
    before: usize,
    /// Behind its own line end.
    after: usize,
}

struct Scanner<'a> {
    data: &'a [u8],
    tree: Tree,
    open: Vec<Open<'a>>,
    /// Made with the first multipart: most mail has none.
    finder: Option<memmem::Finder<'static>>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        let mut found = self.enter(NONE, 0, false);
        while let Some(delimiter) = found {
            self.leave_inside(&delimiter);
            found = if delimiter.closing {
                self.close_multipart(&delimiter)
            } else if self.tree.nodes.len() == MAX_PARTS {
                self.stop(Bound::Parts);
                None
            } else {
                let node = self.open[delimiter.level].node;
                let digest = self.is_digest(node);
                self.enter(node, delimiter.after, digest)
            };
        }
        self.end_from(0, self.data.len());
    }

    /// Reads a part that begins at `at`, and the parts it opens with, up to the next delimiter.
    fn enter(&mut self, mut parent: u32, mut at: usize, mut in_digest: bool) -> Option<Delimiter> {
        loop {
            let number = self.tree.nodes.len() as u32;
            let cut = self.read_header(parent, at, in_digest);
            if cut.is_some() {
                return cut;
            }
            let body = self.tree.nodes[number as usize].body as usize;
            match self.kind_of(number) {
                Kind::Message if self.may_nest(number) => {
                    self.tree.nodes[number as usize].kind = Kind::Message;
                    (parent, at, in_digest) = (number, body, false);
                }
                Kind::Multipart if self.may_nest(number) => {
                    self.tree.nodes[number as usize].kind = Kind::Multipart;
                    return self.next_delimiter(body);
                }
                _ => return self.next_delimiter(body),
            }
        }
    }

    /// Appends a part and its fields. Gives the delimiter that ended its header, if one did.
    fn read_header(&mut self, parent: u32, start: usize, in_digest: bool) -> Option<Delimiter> {
        let depth = self.tree.nodes.get(parent as usize).map_or(0, |node| node.depth + 1);
        let first = self.tree.fields.len();
        let looked_at = &self.data[..self.data.len().min(start + MAX_HEADER)];
        let (mut content_type, mut encoding) = (NONE, NONE);
        let (mut at, mut body, mut cut) = (start, None, None);
        while at < looked_at.len() {
            if let Some(length) = empty_line(&looked_at[at..]) {
                body = Some(at + length);
                break;
            }
            if looked_at[at] == b'-' && !self.open.is_empty() {
                cut = self.delimiter_at(at);
                if cut.is_some() {
                    break;
                }
            }
            let count = self.tree.fields.len();
            if count - first == MAX_FIELDS || count == MAX_ALL_FIELDS {
                self.stop(Bound::Fields);
                break;
            }
            let field = read_field(looked_at, at);
            at = field.range().end;
            match field.name_range().len() {
                12 if content_type == NONE && field.has_name(self.data, "Content-Type") => content_type = count as u32,
                25 if encoding == NONE && field.has_name(self.data, "Content-Transfer-Encoding") => {
                    encoding = count as u32;
                }
                _ => {}
            }
            self.tree.fields.push(field);
        }
        if body.is_none() && at == looked_at.len() && at < self.data.len() {
            self.stop(Bound::Header);
        }
        let body = body.unwrap_or(at) as u32;
        let fields = (first as u32, self.tree.fields.len() as u32);
        self.tree.nodes.push(Node {
            parent,
            next: 0,
            fields,
            start: start as u32,
            body,
            end: NONE,
            content_type,
            encoding,
            depth,
            kind: Kind::Leaf,
            in_digest,
            closed: false,
        });
        cut
    }

    /// What the part's Content-Type makes of it; a multipart's boundary is put on the stack.
    fn kind_of(&mut self, number: u32) -> Kind {
        let node = &self.tree.nodes[number as usize];
        let Some(field) = self.tree.fields.get(node.content_type as usize) else {
            return if node.in_digest { Kind::Message } else { Kind::Leaf };
        };
        let data = self.data;
        let value = &data[field.value_range(data)];
        let content = ContentType::read(value);
        if content.is_message() && !self.is_encoded(node) {
            return Kind::Message;
        }
        if !content.is("multipart") {
            return Kind::Leaf;
        }
        match Parameters::of(value).boundary() {
            Some(boundary) if boundary.len() > MAX_BOUNDARY => {
                self.stop(Bound::Boundary);
                Kind::Leaf
            }
            Some(boundary) if usize::from(node.depth) < MAX_DEPTH => {
                self.finder.get_or_insert_with(|| memmem::Finder::new(b"\n--"));
                self.open.push(Open { boundary, node: number });
                Kind::Multipart
            }
            // `may_nest` says why.
            Some(_) => Kind::Multipart,
            None => Kind::Leaf,
        }
    }

    /// Its content is written in an encoding: what is inside is not in these bytes.
    fn is_encoded(&self, node: &Node) -> bool {
        let field = self.tree.fields.get(node.encoding as usize);
        field.is_some_and(|field| {
            let value = self.data[field.value_range(self.data)].trim_ascii();
            value.eq_ignore_ascii_case(b"base64") || value.eq_ignore_ascii_case(b"quoted-printable")
        })
    }

    fn may_nest(&mut self, number: u32) -> bool {
        let deep = usize::from(self.tree.nodes[number as usize].depth) >= MAX_DEPTH;
        let many = self.tree.nodes.len() == MAX_PARTS;
        if deep {
            self.stop(Bound::Depth);
        } else if many {
            self.stop(Bound::Parts);
        }
        !deep && !many
    }

    fn is_digest(&self, number: u32) -> bool {
        let node = &self.tree.nodes[number as usize];
        let field = self.tree.fields.get(node.content_type as usize);
        field.is_some_and(|field| ContentType::read(&self.data[field.value_range(self.data)]).subtype_is("digest"))
    }

    /// Everything inside the delimiter's multipart ends before it.
    fn leave_inside(&mut self, delimiter: &Delimiter) {
        let outer = self.open[delimiter.level].node as usize;
        self.open.truncate(delimiter.level + 1);
        self.end_from(outer + 1, delimiter.before);
    }

    /// What follows is the epilogue, up to a delimiter of an outer multipart.
    fn close_multipart(&mut self, delimiter: &Delimiter) -> Option<Delimiter> {
        let outer = self.open[delimiter.level].node as usize;
        self.tree.nodes[outer].closed = true;
        self.open.truncate(delimiter.level);
        self.next_delimiter(delimiter.after)
    }

    /// The last branch down to this part ends: nothing else is without an end.
    fn end_from(&mut self, first: usize, mut end: usize) {
        let next = self.tree.nodes.len();
        let mut number = next - 1;
        while number >= first && number < next {
            let node = &mut self.tree.nodes[number];
            if node.end == NONE {
                // A header that a delimiter cut off ends with its own line end, and what it stands in too.
                end = end.max(node.body as usize);
                node.end = end as u32;
                node.next = next as u32;
            }
            number = node.parent as usize;
        }
    }

    fn next_delimiter(&self, body: usize) -> Option<Delimiter> {
        let finder = self.finder.as_ref().filter(|_| !self.open.is_empty())?;
        if body == 0 && self.data.starts_with(b"--") {
            let found = self.delimiter_at(0);
            if found.is_some() {
                return found;
            }
        }
        // The line end before the first line counts as one that a delimiter may follow.
        let mut at = body.saturating_sub(1);
        while let Some(found) = finder.find(&self.data[at..]) {
            let line = at + found + 1;
            let delimiter = self.delimiter_at(line);
            if delimiter.is_some() {
                return delimiter;
            }
            at = line;
        }
        None
    }

    /// The delimiter that the line beginning at `line` is, of the innermost multipart that it fits.
    fn delimiter_at(&self, line: usize) -> Option<Delimiter> {
        let rest = self.data[line..].strip_prefix(b"--")?;
        let length = memchr(b'\n', rest);
        let text = rest[..length.unwrap_or(rest.len())].trim_ascii_end();
        let bare = text.strip_suffix(b"--").map(<[u8]>::trim_ascii_end);
        for (level, open) in self.open.iter().enumerate().rev() {
            let boundary = &*open.boundary;
            let opening = text == boundary;
            if opening || bare == Some(boundary) {
                let after = length.map_or(self.data.len(), |lf| line + 2 + lf + 1);
                return Some(Delimiter { level, closing: !opening, before: self.before_line(line), after });
            }
        }
        None
    }

    /// In front of the line end that stands before `line`.
    fn before_line(&self, line: usize) -> usize {
        let lf = line.saturating_sub(1);
        if lf > 0 && self.data[lf - 1] == b'\r' && self.data[lf] == b'\n' { lf - 1 } else { lf }
    }

    fn stop(&mut self, bound: Bound) {
        self.tree.bounds |= 1 << bound as u8;
    }
}
