//! Questions to DNS and what is known so far. A check that needs more says [`Pending`]; its questions lie in `wanted`.
//!
//! The answers of one message are shared by all its checks, so a key or an address is asked for once. Names that DNS
//! cannot hold are never asked: they do not exist. At [`MAX_QUESTIONS`] everything further is a temporary failure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

/// Questions for one message. Two SPF identities may take 2 × (10 terms × 11 + exp), keys, policies and iprev some
/// tens more; a message that needs more than this is built to cost.
pub const MAX_QUESTIONS: usize = 320;

/// One question. Names are in lower case without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    Txt(Box<str>),
    A(Box<str>),
    Aaaa(Box<str>),
    Mx(Box<str>),
    Ptr(IpAddr),
}

/// What DNS said. An alias counts as what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// TXT records, the strings of each joined (RFC 7208 3.3).
    Texts(Vec<Box<[u8]>>),
    Addresses(Vec<IpAddr>),
    /// The hosts of MX records by preference, or the names of PTR records.
    Names(Vec<Box<str>>),
    NotFound(Missing),
    /// No server said anything useful in time.
    Temporary,
}

/// Two kinds of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// NXDOMAIN: neither the name nor anything below it (RFC 8020 2).
    Name,
    /// The name is there, but has no such record.
    Record,
}

/// The check needs answers that are not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending;

static NO_NAME: Answer = Answer::NotFound(Missing::Name);
static OVER_BUDGET: Answer = Answer::Temporary;

/// The answers known so far, and the questions that came up meanwhile.
#[derive(Debug, Default)]
pub struct Known {
    answers: HashMap<Question, Answer>,
    wanted: RefCell<Vec<Question>>,
}

impl Question {
    pub fn txt(name: &str) -> Self {
        Self::Txt(normal(name))
    }

    pub fn a(name: &str) -> Self {
        Self::A(normal(name))
    }

    pub fn aaaa(name: &str) -> Self {
        Self::Aaaa(normal(name))
    }

    pub fn mx(name: &str) -> Self {
        Self::Mx(normal(name))
    }

    /// Addresses of a host in the family of `like`.
    pub fn address(name: &str, like: IpAddr) -> Self {
        if like.is_ipv4() { Self::a(name) } else { Self::aaaa(name) }
    }

    /// The name that is looked up; for PTR the one below in-addr.arpa or ip6.arpa.
    pub fn name(&self) -> String {
        match self {
            Self::Txt(name) | Self::A(name) | Self::Aaaa(name) | Self::Mx(name) => name.to_string(),
            Self::Ptr(ip) => reverse_name(*ip),
        }
    }

    /// The record type in the words of DNS.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Txt(_) => "TXT",
            Self::A(_) => "A",
            Self::Aaaa(_) => "AAAA",
            Self::Mx(_) => "MX",
            Self::Ptr(_) => "PTR",
        }
    }

    fn is_askable(&self) -> bool {
        match self {
            Self::Txt(name) | Self::A(name) | Self::Aaaa(name) | Self::Mx(name) => is_name(name),
            Self::Ptr(_) => true,
        }
    }
}

impl Known {
    /// The answer, or the question is put on the list.
    pub fn get(&self, question: Question) -> Result<&Answer, Pending> {
        if !question.is_askable() {
            return Ok(&NO_NAME);
        }
        if let Some(answer) = self.answers.get(&question) {
            return Ok(answer);
        }
        let mut wanted = self.wanted.borrow_mut();
        if self.answers.len() + wanted.len() >= MAX_QUESTIONS {
            return Ok(&OVER_BUDGET);
        }
        if !wanted.contains(&question) {
            wanted.push(question);
        }
        Err(Pending)
    }

    pub fn learn(&mut self, question: Question, answer: Answer) {
        self.answers.insert(question, answer);
    }

    /// What has to be asked before the checks can go on; empty when they can.
    pub fn take_wanted(&self) -> Vec<Question> {
        self.wanted.take()
    }

    /// How many questions were answered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

impl Answer {
    pub fn texts(&self) -> &[Box<[u8]>] {
        if let Self::Texts(texts) = self { texts } else { &[] }
    }

    pub fn addresses(&self) -> &[IpAddr] {
        if let Self::Addresses(addresses) = self { addresses } else { &[] }
    }

    pub fn names(&self) -> &[Box<str>] {
        if let Self::Names(names) = self { names } else { &[] }
    }

    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary)
    }

    /// Nothing of the kind exists: a void look-up (RFC 7208 4.6.4).
    pub fn is_void(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.is_empty(),
            Self::Addresses(addresses) => addresses.is_empty(),
            Self::Names(names) => names.is_empty(),
            Self::NotFound(_) => true,
            Self::Temporary => false,
        }
    }
}

fn normal(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// Whether DNS could hold the name (RFC 1035 2.3.4). Any octet may stand in a label, but
/// control characters are nobody's name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        && name.bytes().all(|byte| byte >= b' ' && byte != 0x7f)
}

/// The name under which an address is looked up (RFC 1035 3.5, RFC 3596 2.5).
pub fn reverse_name(ip: IpAddr) -> String {
    use std::fmt::Write;
    let mut name = String::with_capacity(72);
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            let _ = write!(name, "{d}.{c}.{b}.{a}.in-addr.arpa");
        }
        IpAddr::V6(ip) => {
            for byte in ip.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_up_once_and_stay_within_the_budget() {
        let mut known = Known::default();
        assert_eq!(known.get(Question::txt("A.example.")), Err(Pending));
        assert_eq!(known.get(Question::txt("a.example")), Err(Pending));
        assert_eq!(known.take_wanted(), [Question::Txt("a.example".into())]);
        assert_eq!(known.get(Question::txt("a..example")), Ok(&NO_NAME));
        for n in 0..MAX_QUESTIONS {
            known.learn(Question::a(&format!("{n}.example")), Answer::Temporary);
        }
        assert_eq!(known.get(Question::txt("b.example")), Ok(&Answer::Temporary));
    }

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let six = reverse_name("2001:db8::1".parse().unwrap());
        assert!(six.starts_with("1.0.0.0.") && six.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{six}");
    }
}
