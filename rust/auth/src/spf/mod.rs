//! SPF (RFC 7208): may this address send for this domain? `check_host` as a function of the answers known so far.
//!
//! Ten terms that ask DNS and two void look-ups are allowed, ten hosts of an MX and ten names of an address are
//! looked at. A record is judged as a whole before any of its terms. The verdict tells the term that matched and, for
//! people, every step. Temporary failures of DNS are `temperror`, never a pass.

pub mod macros;
pub mod record;

use std::net::{IpAddr, Ipv6Addr};

use angarium_nouns::Millis;

use crate::dns::{Known, Pending, Question, is_name, reverse_name};
use macros::{MacroText, Piece, shortened};
use record::{Mechanism, Prefixes, Record, RecordError, is_spf};

/// RFC 7208 4.6.4: terms that ask DNS, over all records of one check.
pub const MAX_LOOKUPS: usize = 10;
/// RFC 7208 4.6.4: look-ups that find nothing.
pub const MAX_VOID_LOOKUPS: usize = 2;
/// RFC 7208 4.6.4: hosts of one MX, more is an error.
pub const MAX_MX_HOSTS: usize = 10;
/// RFC 7208 4.6.4: names of one address, further ones are not looked at.
pub const MAX_PTR_NAMES: usize = 10;
/// An explanation that is shown to people; a reply has room for about this much.
pub const MAX_EXPLANATION: usize = 512;

/// The results of RFC 7208 2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    TempError,
    PermError,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Which name of the client was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Helo,
    MailFrom,
}

/// What is checked. `sender` is the whole address; empty for a null reverse-path.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub ip: IpAddr,
    pub helo: &'a str,
    pub sender: &'a str,
    /// The name of the host that checks, for `%{r}`.
    pub receiver: &'a str,
    pub now: Millis,
}

/// The result and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    pub identity: Identity,
    /// The domain that was asked, in the writing of the client.
    pub domain: Box<str>,
    /// The term that matched.
    pub mechanism: Option<Box<str>>,
    /// What the domain says to those who fail.
    pub explanation: Option<Box<str>>,
    pub problem: Option<Problem>,
    pub lookups: usize,
    pub void_lookups: usize,
    pub steps: Vec<String>,
}

/// Why there is no other result than none, temperror or permerror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0:?} is no domain that could publish SPF")]
    Domain(Box<str>),
    #[error("{0} publishes no SPF")]
    NoRecord(Box<str>),
    #[error("{0} publishes two SPF records")]
    TwoRecords(Box<str>),
    #[error("{0}: {1}")]
    Record(Box<str>, RecordError),
    #[error("DNS failed for {0}")]
    Dns(Box<str>),
    #[error("more than 10 terms ask DNS")]
    Lookups,
    #[error("more than 2 look-ups found nothing")]
    VoidLookups,
    #[error("{0} has more than 10 MX hosts")]
    MxHosts(Box<str>),
    #[error("{0}, which is included, publishes no SPF")]
    Included(Box<str>),
}

/// Checks the HELO name alone (RFC 7208 2.3).
pub fn check_helo(known: &Known, request: &Request<'_>) -> Result<Verdict, Pending> {
    let sender = format!("postmaster@{}", request.helo);
    Walk::new(known, request, &sender).run(request.helo, Identity::Helo)
}

/// Checks the reverse-path; a null one stands for postmaster at the HELO name (RFC 7208 2.4).
pub fn check_mail_from(known: &Known, request: &Request<'_>) -> Result<Verdict, Pending> {
    if request.sender.is_empty() {
        return check_helo(known, request);
    }
    let (local, domain) = request.sender.rsplit_once('@').unwrap_or(("", request.sender));
    let local = if local.is_empty() { "postmaster" } else { local };
    let sender = format!("{local}@{domain}");
    Walk::new(known, request, &sender).run(domain, Identity::MailFrom)
}

/// What ends an evaluation early.
enum Stop {
    Pending,
    Error(Outcome, Problem),
}

impl From<Pending> for Stop {
    fn from(_: Pending) -> Self {
        Self::Pending
    }
}

/// The end of one record.
struct Found {
    outcome: Outcome,
    mechanism: Option<Box<str>>,
    explanation: Option<MacroText>,
    domain: Box<str>,
}

struct Walk<'a> {
    known: &'a Known,
    request: &'a Request<'a>,
    ip: IpAddr,
    sender: &'a str,
    lookups: usize,
    voids: usize,
    steps: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(known: &'a Known, request: &'a Request<'a>, sender: &'a str) -> Self {
        // RFC 7208 5: an IPv4-mapped address is an IPv4 address.
        let ip = request.ip.to_canonical();
        Self { known, request, ip, sender, lookups: 0, voids: 0, steps: Vec::new() }
    }

    fn run(mut self, domain: &str, identity: Identity) -> Result<Verdict, Pending> {
        let (outcome, found, problem) = match self.start(domain) {
            Ok(found) => (found.outcome, Some(found), None),
            Err(Stop::Error(outcome, problem)) => (outcome, None, Some(problem)),
            Err(Stop::Pending) => return Err(Pending),
        };
        let explanation = match &found {
            Some(found) if outcome == Outcome::Fail => self.explain(found)?,
            _ => None,
        };
        Ok(Verdict {
            outcome,
            identity,
            domain: domain.into(),
            mechanism: found.and_then(|found| found.mechanism),
            explanation,
            problem,
            lookups: self.lookups,
            void_lookups: self.voids,
            steps: self.steps,
        })
    }

    /// RFC 7208 4.3: a name that is no domain has no policy.
    fn start(&mut self, domain: &str) -> Result<Found, Stop> {
        let bare = domain.strip_suffix('.').unwrap_or(domain);
        let good = is_name(bare) && bare.contains('.') && !bare.starts_with('[') && bare.parse::<IpAddr>().is_err();
        if !good {
            return Err(Stop::Error(Outcome::None, Problem::Domain(domain.into())));
        }
        self.check(bare)
    }

    /// The record of one domain, from the first term to the end (RFC 7208 4.5, 4.6).
    fn check(&mut self, domain: &str) -> Result<Found, Stop> {
        let record = self.record(domain)?;
        for directive in &record.directives {
            let matched = self.matches(domain, &directive.mechanism)?;
            if matched {
                self.step(|| format!("{domain}: {} matches, {}", directive.text, directive.outcome.as_str()));
                return Ok(Found {
                    outcome: directive.outcome,
                    mechanism: Some(directive.text.clone()),
                    explanation: record.explanation,
                    domain: domain.into(),
                });
            }
            self.step(|| format!("{domain}: {} does not match", directive.text));
        }
        match &record.redirect {
            Some(target) => self.redirect(domain, target),
            None => Ok(Found { outcome: Outcome::Neutral, mechanism: None, explanation: None, domain: domain.into() }),
        }
    }

    fn record(&mut self, domain: &str) -> Result<Record, Stop> {
        let answer = self.known.get(Question::txt(domain))?;
        if answer.is_temporary() {
            return Err(Stop::Error(Outcome::TempError, Problem::Dns(domain.into())));
        }
        let mut records = answer.texts().iter().filter(|text| is_spf(text));
        let Some(text) = records.next() else {
            return Err(Stop::Error(Outcome::None, Problem::NoRecord(domain.into())));
        };
        if records.next().is_some() {
            return Err(Stop::Error(Outcome::PermError, Problem::TwoRecords(domain.into())));
        }
        self.step(|| format!("{domain} publishes {}", String::from_utf8_lossy(text)));
        Record::parse(text).map_err(|error| Stop::Error(Outcome::PermError, Problem::Record(domain.into(), error)))
    }

    fn redirect(&mut self, domain: &str, target: &MacroText) -> Result<Found, Stop> {
        self.count_lookup()?;
        let target = self.expand_domain(target, domain)?;
        self.step(|| format!("{domain}: on to {target} (redirect)"));
        self.check(&target).map_err(|stop| match stop {
            // RFC 7208 6.1: a redirect to nothing is an error.
            Stop::Error(Outcome::None, _) => Stop::Error(Outcome::PermError, Problem::Included(target.as_str().into())),
            other => other,
        })
    }

    fn matches(&mut self, domain: &str, mechanism: &Mechanism) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, prefix) => Ok(in_network(self.ip, IpAddr::V4(*network), *prefix)),
            Mechanism::Ip6(network, prefix) => Ok(in_network(self.ip, IpAddr::V6(*network), *prefix)),
            Mechanism::Include(target) => self.include(domain, target),
            Mechanism::A(target, prefixes) => self.host(domain, target.as_ref(), *prefixes),
            Mechanism::Mx(target, prefixes) => self.mail_hosts(domain, target.as_ref(), *prefixes),
            Mechanism::Ptr(target) => self.pointer(domain, target.as_ref()),
            Mechanism::Exists(target) => self.exists(domain, target),
        }
    }

    /// RFC 7208 5.2.
    fn include(&mut self, domain: &str, target: &MacroText) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.expand_domain(target, domain)?;
        match self.check(&target) {
            Ok(found) => Ok(found.outcome == Outcome::Pass),
            Err(Stop::Error(Outcome::None, _)) => {
                Err(Stop::Error(Outcome::PermError, Problem::Included(target.as_str().into())))
            }
            Err(stop) => Err(stop),
        }
    }

    /// RFC 7208 5.3.
    fn host(&mut self, domain: &str, target: Option<&MacroText>, prefixes: Prefixes) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.target(domain, target)?;
        let answer = self.ask(Question::address(&target, self.ip), true)?;
        Ok(answer.iter().any(|address| self.is_near(*address, prefixes)))
    }

    /// RFC 7208 5.4.
    fn mail_hosts(&mut self, domain: &str, target: Option<&MacroText>, prefixes: Prefixes) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.target(domain, target)?;
        let answer = self.known.get(Question::mx(&target))?;
        if answer.is_temporary() {
            return Err(Stop::Error(Outcome::TempError, Problem::Dns(target.as_str().into())));
        }
        self.count_void(answer.is_void())?;
        let hosts = answer.names();
        if hosts.len() > MAX_MX_HOSTS {
            return Err(Stop::Error(Outcome::PermError, Problem::MxHosts(target.as_str().into())));
        }
        self.ask_all(hosts.iter().map(|host| Question::address(host, self.ip)))?;
        for host in hosts {
            let addresses = self.ask(Question::address(host, self.ip), true)?;
            if addresses.iter().any(|address| self.is_near(*address, prefixes)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 5.5.
    fn pointer(&mut self, domain: &str, target: Option<&MacroText>) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.target(domain, target)?;
        let answer = self.known.get(Question::Ptr(self.ip))?;
        self.count_void(answer.is_void())?;
        let names = self.validated_names()?;
        Ok(names.iter().any(|name| is_within(name, &target)))
    }

    /// RFC 7208 5.7: always an A query, whatever the client speaks.
    fn exists(&mut self, domain: &str, target: &MacroText) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.expand_domain(target, domain)?;
        Ok(!self.ask(Question::a(&target), true)?.is_empty())
    }

    fn target(&self, domain: &str, target: Option<&MacroText>) -> Result<String, Pending> {
        target.map_or_else(|| Ok(domain.to_string()), |text| self.expand_domain(text, domain))
    }

    fn is_near(&self, address: IpAddr, prefixes: Prefixes) -> bool {
        let prefix = if address.is_ipv4() { prefixes.four } else { prefixes.six };
        in_network(self.ip, address, prefix)
    }

    fn ask(&mut self, question: Question, counts: bool) -> Result<&'a [IpAddr], Stop> {
        let known = self.known;
        let name = question.name();
        let answer = known.get(question)?;
        if answer.is_temporary() {
            return Err(Stop::Error(Outcome::TempError, Problem::Dns(name.into())));
        }
        self.count_void(counts && answer.is_void())?;
        Ok(answer.addresses())
    }

    /// Puts all questions on the list at once, so that they are asked side by side.
    fn ask_all(&self, questions: impl Iterator<Item = Question>) -> Result<(), Pending> {
        let missing = questions.filter(|question| self.known.get(question.clone()).is_err()).count();
        if missing == 0 { Ok(()) } else { Err(Pending) }
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS {
            return Err(Stop::Error(Outcome::PermError, Problem::Lookups));
        }
        Ok(())
    }

    fn count_void(&mut self, is_void: bool) -> Result<(), Stop> {
        self.voids += usize::from(is_void);
        if self.voids > MAX_VOID_LOOKUPS {
            return Err(Stop::Error(Outcome::PermError, Problem::VoidLookups));
        }
        Ok(())
    }

    /// Names of the client that lead back to it (RFC 7208 5.5). Failures of DNS leave names away.
    fn validated_names(&self) -> Result<Vec<&'a str>, Pending> {
        let names = self.known.get(Question::Ptr(self.ip))?.names();
        let names = &names[..names.len().min(MAX_PTR_NAMES)];
        self.ask_all(names.iter().map(|name| Question::address(name, self.ip)))?;
        let mut validated = Vec::new();
        for name in names {
            let answer = self.known.get(Question::address(name, self.ip))?;
            if answer.addresses().iter().any(|address| address.to_canonical() == self.ip) {
                validated.push(&**name);
            }
        }
        Ok(validated)
    }

    fn expand_domain(&self, text: &MacroText, domain: &str) -> Result<String, Pending> {
        let expanded = self.expand(text, domain)?;
        let bare = expanded.strip_suffix('.').unwrap_or(&expanded);
        Ok(shortened(bare).to_string())
    }

    fn expand(&self, text: &MacroText, domain: &str) -> Result<String, Pending> {
        let mut out = String::new();
        for piece in &text.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Macro(found) => out.push_str(&found.transform(&self.value(found.letter, domain)?)),
            }
        }
        Ok(out)
    }

    /// RFC 7208 7.2.
    fn value(&self, letter: u8, domain: &str) -> Result<String, Pending> {
        let (local, sender_domain) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        Ok(match letter {
            b's' => self.sender.to_string(),
            b'l' => local.to_string(),
            b'o' => sender_domain.to_string(),
            b'd' => domain.to_string(),
            b'i' => self.dotted_ip(),
            b'p' => self.client_name(domain)?,
            b'v' => if self.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_string(),
            b'h' => self.request.helo.to_string(),
            b'c' => self.ip.to_string(),
            b'r' => if self.request.receiver.is_empty() { "unknown" } else { self.request.receiver }.to_string(),
            _ => (self.request.now / 1000).to_string(),
        })
    }

    fn dotted_ip(&self) -> String {
        match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(_) => {
                let reversed = reverse_name(self.ip);
                let digits = reversed.strip_suffix(".ip6.arpa").unwrap_or(&reversed);
                // DNS does not care about case; the test suite of RFC 7208 writes it like this.
                digits.chars().rev().collect::<String>().to_ascii_uppercase()
            }
        }
    }

    /// `%{p}`: the best validated name of the client, or `unknown`.
    fn client_name(&self, domain: &str) -> Result<String, Pending> {
        let names = self.validated_names()?;
        let same = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let best = same.or_else(|| names.iter().find(|name| is_within(name, domain))).or_else(|| names.first());
        Ok((*best.unwrap_or(&"unknown")).to_string())
    }

    /// RFC 7208 6.2: any fault leaves the explanation away.
    fn explain(&self, found: &Found) -> Result<Option<Box<str>>, Pending> {
        let Some(target) = &found.explanation else { return Ok(None) };
        let target = self.expand_domain(target, &found.domain)?;
        let [text] = self.known.get(Question::txt(&target))?.texts() else { return Ok(None) };
        let Some(text) = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()) else { return Ok(None) };
        let Ok(text) = MacroText::parse(text, true) else { return Ok(None) };
        let mut text = self.expand(&text, &found.domain)?;
        text.truncate(text.floor_char_boundary(MAX_EXPLANATION));
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        Ok(printable.then(|| text.into()))
    }

    fn step(&mut self, text: impl FnOnce() -> String) {
        self.steps.push(text());
    }
}

/// Whether `ip` lies in the network; families never match each other.
fn in_network(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => same_network(ip, network, prefix),
        _ => false,
    }
}

fn same_network(ip: Ipv6Addr, network: Ipv6Addr, prefix: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    ip.to_bits() & mask == network.to_bits() & mask
}

/// Whether `name` is `domain` or below it.
pub fn is_within(name: &str, domain: &str) -> bool {
    let Some(cut) = name.len().checked_sub(domain.len()) else { return false };
    let (front, end) = name.as_bytes().split_at(cut);
    end.eq_ignore_ascii_case(domain.as_bytes()) && matches!(front.last(), None | Some(b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(in_network(ip("192.0.2.9"), ip("192.0.2.0"), 24));
        assert!(!in_network(ip("192.0.3.9"), ip("192.0.2.0"), 24));
        assert!(in_network(ip("8.8.8.8"), ip("1.1.1.1"), 0));
        assert!(in_network(ip("2001:db8::9"), ip("2001:db8::"), 64));
        assert!(in_network(ip("::1"), ip("2001:db8::"), 0));
        assert!(!in_network(ip("::1"), ip("0.0.0.0"), 0));
    }

    #[test]
    fn names_within_names() {
        assert!(is_within("a.example", "A.EXAMPLE"));
        assert!(is_within("b.a.example", "a.example"));
        assert!(!is_within("ba.example", "a.example"));
        assert!(!is_within("example", "a.example"));
    }
}
