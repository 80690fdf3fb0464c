//! A DMARC policy record (RFC 9989 4.7, 4.8), read as its receivers must: unknown tags and bad values are passed
//! over, a record that begins with anything but `v=DMARC1` is none.

use crate::tags::Tags;

/// Addresses for reports in one record.
pub const MAX_REPORT_ADDRESSES: usize = 10;

/// What a domain asks for mail that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    None,
    Quarantine,
    Reject,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.as_str().as_bytes().eq_ignore_ascii_case(value))
    }

    /// What is done while the domain only tests (`t=y`, RFC 9989 4.7): one step less.
    #[must_use]
    pub fn softened(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            _ => Self::None,
        }
    }
}

/// `psd=`: whether the domain is a public suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    Yes,
    No,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub policy: Policy,
    pub subdomains: Option<Policy>,
    pub nonexistent: Option<Policy>,
    pub strict_dkim: bool,
    pub strict_spf: bool,
    pub testing: bool,
    pub suffix: Suffix,
    /// `fo=`, as it stands there.
    pub failure_options: Box<str>,
    /// `rua=` and `ruf=`: mailto addresses.
    pub aggregate: Vec<Box<str>>,
    pub failures: Vec<Box<str>>,
    pub text: Box<str>,
}

/// Whether a TXT record claims to be DMARC: `v=DMARC1` first, in this writing (RFC 9989 4.7).
pub fn is_dmarc(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b';').next().unwrap_or_default();
    let mut halves = first.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default().trim_ascii_end();
    name == b"v" && halves.next().is_some_and(|value| value.trim_ascii() == b"DMARC1")
}

impl Record {
    /// `None`: no record that can be used.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !is_dmarc(text) {
            return None;
        }
        let tags = Tags::parse_record(text).ok()?;
        let flag = |name: &str, value: &[u8]| tags.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        let policy = |name: &str| tags.get(name).map(Policy::parse);
        let aggregate = report_addresses(tags.text("rua"));
        let (p, sp, np) = (policy("p"), policy("sp"), policy("np"));
        let bad = matches!(p, Some(None)) || matches!(sp, Some(None)) || matches!(np, Some(None));
        // RFC 9989 4.7: without a usable policy the record stands for p=none if it asks for reports, else for nothing.
        if (p.is_none() || bad) && aggregate.is_empty() && !(p.is_none() && !bad && tags.get("psd").is_some()) {
            return None;
        }
        let usable = |value: Option<Option<Policy>>| if bad { None } else { value.flatten() };
        Some(Self {
            policy: usable(p).unwrap_or(Policy::None),
            subdomains: usable(sp),
            nonexistent: usable(np),
            strict_dkim: flag("adkim", b"s"),
            strict_spf: flag("aspf", b"s"),
            testing: flag("t", b"y"),
            suffix: match tags.get("psd") {
                Some(b"y" | b"Y") => Suffix::Yes,
                Some(b"n" | b"N") => Suffix::No,
                _ => Suffix::Unknown,
            },
            failure_options: tags.text("fo").unwrap_or("0").into(),
            aggregate,
            failures: report_addresses(tags.text("ruf")),
            text: String::from_utf8_lossy(text).into(),
        })
    }
}

fn report_addresses(value: Option<&str>) -> Vec<Box<str>> {
    let uris = value.unwrap_or_default().split(',').map(str::trim);
    let mail = uris.filter(|uri| uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")));
    // RFC 7489 6.2 let a size follow behind `!`; RFC 9989 dropped it and readers pass over it.
    let addresses = mail.map(|uri| uri[7..].split('!').next().unwrap_or_default());
    addresses.filter(|address| address.contains('@')).take(MAX_REPORT_ADDRESSES).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let read = |text: &str| Record::parse(text.as_bytes());
        let full =
            read("v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; t=y; psd=n; rua=mailto:a@b.c!10m,https://x")
                .unwrap();
        assert_eq!(
            (full.policy, full.subdomains, full.nonexistent),
            (Policy::Reject, Some(Policy::Quarantine), Some(Policy::None))
        );
        assert!(full.strict_dkim && !full.strict_spf && full.testing && full.suffix == Suffix::No);
        assert_eq!(full.aggregate, ["a@b.c".into()]);
        assert_eq!(read("v=DMARC1; p=bogus; rua=mailto:a@b.c").unwrap().policy, Policy::None);
        assert_eq!(read("v=DMARC1; p=bogus"), None);
        assert_eq!(read("v=DMARC1; rua=mailto:a@b.c").unwrap().policy, Policy::None);
        assert_eq!(read("v=dmarc1; p=reject"), None);
        assert_eq!(read("p=reject; v=DMARC1"), None);
        assert_eq!(read("v=DMARC1; p=reject; p=none"), None);
        assert!(read("v=DMARC1;p=reject;").is_some());
        assert_eq!(Policy::Reject.softened(), Policy::Quarantine);
    }
}
