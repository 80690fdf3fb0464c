//! What a peer said it can, from its answer to EHLO (RFC 5321 4.1.1.1).

use crate::sasl::Mechanisms;
use crate::settings::{Extensions, Limits};

/// Capabilities of the peer; those of a peer that was greeted with HELO are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Those that this crate knows.
    pub extensions: Extensions,
    /// The largest content that the peer takes; `None`: it named no limit (RFC 1870 4).
    pub size: Option<u64>,
    /// Mechanisms of AUTH, also those of the old writing `AUTH=`.
    pub mechanisms: Mechanisms,
    /// What LIMITS says (RFC 9422).
    pub limits: Limits,
    /// The least time of DELIVERBY, in seconds; `None`: none is named.
    pub deliver_by_minimum: Option<u32>,
    /// The longest hold of FUTURERELEASE, in seconds.
    pub hold_maximum: Option<u32>,
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
        let value = value.trim();
        if let Some(extension) = Extensions::named(keyword) {
            self.extensions = self.extensions.with(extension);
            self.take(extension, value);
        } else if let Some(first) = keyword.get(..5).filter(|front| front.eq_ignore_ascii_case("AUTH=")) {
            self.extensions = self.extensions.with(Extensions::AUTH);
            self.take(Extensions::AUTH, &line[first.len()..]);
        }
        self.lines.push(line.into());
    }

    fn take(&mut self, extension: Extensions, value: &str) {
        match extension {
            // RFC 1870 4: 0 is "no limit"; a number that does not fit is as good as none.
            Extensions::SIZE => self.size = value.parse().ok().filter(|&size| size > 0),
            Extensions::AUTH => self.mechanisms = self.mechanisms.with_all(Mechanisms::read(value)),
            Extensions::LIMITS => self.limits = Limits::read(value),
            Extensions::DELIVERBY => self.deliver_by_minimum = value.parse().ok().filter(|&least| least > 0),
            Extensions::FUTURERELEASE => {
                self.hold_maximum = value.split(' ').next().and_then(|seconds| seconds.parse().ok());
            }
            _ => {}
        }
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
