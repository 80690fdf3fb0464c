//! A small tree of an XML document: names without prefixes, text, children. Bounded in depth and number; no entities
//! but the five of XML and numeric ones, so nothing grows.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::ReadError;

/// Elements of one document. A record has about 25; the largest reports have some ten thousand records.
const MAX_ELEMENTS: usize = 1_000_000;
/// Elements inside elements; aggregates have seven.
const MAX_DEPTH: usize = 64;

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn read(document: &[u8]) -> Result<Self, ReadError> {
        let document = String::from_utf8_lossy(document);
        let mut reader = Reader::from_str(&document);
        reader.config_mut().check_end_names = false;
        let mut open = vec![Self::default()];
        let mut count = 0;
        loop {
            let event = reader.read_event();
            let at = reader.buffer_position() as usize;
            let form = |why: String| ReadError::Form { at, why };
            match event.map_err(|error| form(error.to_string()))? {
                Event::Start(start) => {
                    count += 1;
                    if count > MAX_ELEMENTS || open.len() > MAX_DEPTH {
                        return Err(ReadError::Elements(MAX_ELEMENTS));
                    }
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Empty(start) => {
                    count += 1;
                    let element = Self::named(start.local_name().as_ref());
                    open.last_mut().into_iter().for_each(|outer| outer.children.push(element.clone()));
                }
                Event::End(_) => close(&mut open),
                Event::Text(text) => append(&mut open, text.as_ref()),
                Event::CData(text) => append(&mut open, text.as_ref()),
                Event::GeneralRef(name) => append(&mut open, &entity(name.as_ref())),
                Event::Eof => break,
                _ => {}
            }
        }
        while open.len() > 1 {
            close(&mut open);
        }
        open.pop().and_then(|mut root| root.children.pop()).ok_or(ReadError::Absent)
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Self> + 'e {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child, trimmed; empty where it is missing.
    pub fn text_of(&self, name: &str) -> String {
        self.child(name).map(|child| child.text.trim().to_owned()).unwrap_or_default()
    }

    pub fn number_of(&self, name: &str) -> u64 {
        self.text_of(name).parse().unwrap_or(0)
    }
}

fn close(open: &mut Vec<Element>) {
    if open.len() > 1
        && let Some(element) = open.pop()
        && let Some(outer) = open.last_mut()
    {
        outer.children.push(element);
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn entity(name: &str) -> String {
    let numeric = name.strip_prefix('#').and_then(|digits| {
        let code =
            digits.strip_prefix('x').map_or_else(|| digits.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
        code.and_then(char::from_u32)
    });
    let named = [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"'), ("apos", '\'')];
    let found = numeric.or_else(|| named.iter().find(|(known, _)| *known == name).map(|(_, c)| *c));
    found.map_or_else(|| format!("&{name};"), String::from)
}
