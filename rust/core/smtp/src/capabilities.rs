//! What a peer said it can, from its answer to EHLO (RFC 5321 4.1.1.1).

use crate::settings::Extensions;

/// Capabilities of the peer; those of a peer that was greeted with HELO are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Those that this crate knows.
    pub extensions: Extensions,
    /// The largest content that the peer takes; `None`: it named no limit (RFC 1870 4).
    pub size: Option<u64>,
    /// The peer's own name, from the first line.
    pub hostname: Box<str>,
    /// All lines behind the first, as they came.
    pub lines: Vec<Box<str>>,
}

impl Capabilities {
    /// Reads the text of a positive answer.
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        let hostname = first.split(' ').next().unwrap_or_default().into();
        let mut capabilities = Self { hostname, ..Self::default() };
        for line in lines {
            capabilities.add(line);
        }
        capabilities
    }

    fn add(&mut self, line: &str) {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(extension) = Extensions::named(keyword) {
            self.extensions = self.extensions.with(extension);
            if extension == Extensions::SIZE {
                // RFC 1870 4: 0 is "no limit"; a number that does not fit is as good as none.
                self.size = value.trim().parse().ok().filter(|&size| size > 0);
            }
        }
        self.lines.push(line.into());
    }

    pub fn has(&self, extension: Extensions) -> bool {
        self.extensions.has(extension)
    }

    /// What stands behind `keyword`, for extensions that this crate does not know; `Some("")` when nothing does.
    pub fn parameter(&self, keyword: &str) -> Option<&str> {
        let split =
            |line: &'_ str| line.split_once(' ').map_or((line.len(), line.len()), |(k, _)| (k.len(), k.len() + 1));
        self.lines.iter().find_map(|line| {
            let (end, value) = split(line);
            line[..end].eq_ignore_ascii_case(keyword).then(|| &line[value..])
        })
    }
}
