//! iprev (RFC 8601 3): has the client's address a name that leads back to it?

use std::net::IpAddr;

use crate::dns::{Known, Pending, Question};
use crate::spf::MAX_PTR_NAMES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    Fail,
    TempError,
    /// The address has no name at all.
    PermError,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// `name` is the one that leads back, else the first that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    pub ip: IpAddr,
    pub name: Option<Box<str>>,
}

pub fn check(known: &Known, ip: IpAddr) -> Result<Verdict, Pending> {
    let ip = ip.to_canonical();
    let answer = known.get(Question::Ptr(ip))?;
    let names = &answer.names()[..answer.names().len().min(MAX_PTR_NAMES)];
    let verdict = |outcome, name: Option<&Box<str>>| Ok(Verdict { outcome, ip, name: name.cloned() });
    if answer.is_temporary() {
        return verdict(Outcome::TempError, None);
    }
    if names.is_empty() {
        return verdict(Outcome::PermError, None);
    }
    let unknown = names.iter().filter(|name| known.get(Question::address(name, ip)).is_err()).count();
    if unknown > 0 {
        return Err(Pending);
    }
    let mut failed = false;
    for name in names {
        let answer = known.get(Question::address(name, ip))?;
        if answer.addresses().iter().any(|address| address.to_canonical() == ip) {
            return verdict(Outcome::Pass, Some(name));
        }
        failed |= answer.is_temporary();
    }
    verdict(if failed { Outcome::TempError } else { Outcome::Fail }, names.first())
}
