//! One message, all checks side by side: header in, body in pieces, then questions out and answers in, then the report.
//!
//! [`Inspection::begin`] reads the header and keeps nothing of it but digests, so the message need not stay in memory.
//! [`Judge::step`] runs every check that is not done with the answers there are; what they all lack is asked for in
//! one batch. Work is bounded by the bounds of each check and by [`crate::dns::MAX_QUESTIONS`] over all of them.

use std::net::IpAddr;

use angarium_message::Header;
use angarium_nouns::Millis;

use crate::author::{self, AuthorError, Authors};
use crate::dkim::{self, Bodies, BodyDigests, Candidate};
use crate::dns::{Answer, Known, Pending, Question};
use crate::{arc, dmarc, iprev, spf};

/// Batches of questions. SPF goes ten redirects deep at most and each level asks a record and addresses; a driver that
/// never answers would else be asked for ever.
pub const MAX_ROUNDS: usize = 64;

/// Where the message came from. Without an address there is nothing for SPF and iprev to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub ip: Option<IpAddr>,
    pub helo: String,
    /// The reverse-path without angle brackets; empty for the null one.
    pub sender: String,
    /// Our own name.
    pub receiver: String,
    pub now: Millis,
}

/// A message on its way in.
#[derive(Debug)]
pub struct Inspection {
    candidates: Vec<Candidate>,
    chain: arc::Chain,
    authors: Result<Authors, AuthorError>,
    bodies: Bodies,
}

/// A message that is there, and what is known about it.
#[derive(Debug)]
pub struct Judge {
    session: Session,
    candidates: Vec<Candidate>,
    chain: arc::Chain,
    authors: Result<Authors, AuthorError>,
    digests: BodyDigests,
    known: Known,
    rounds: usize,
    dkim: Vec<Option<dkim::Verdict>>,
    arc: Option<arc::Verdict>,
}

/// What to do next.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Ask these, in any order, and hand the answers to [`Judge::answer`].
    Ask(Vec<Question>),
    Done(Box<Report>),
}

/// Everything that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub iprev: Option<iprev::Verdict>,
    pub helo: Option<spf::Verdict>,
    pub spf: Option<spf::Verdict>,
    pub dkim: Vec<dkim::Verdict>,
    pub arc: arc::Verdict,
    pub dmarc: dmarc::Verdict,
    pub sender: String,
    pub questions: usize,
}

impl Inspection {
    /// Reads the header. `data` may end anywhere behind it; the body begins at [`Header::body_start`].
    pub fn begin(header: &Header<'_>, data: &[u8]) -> Self {
        let mut bodies = Bodies::default();
        let candidates = dkim::candidates(header, data, &mut bodies);
        let chain = arc::chain(header, data, &mut bodies);
        Self { candidates, chain, authors: author::authors(header), bodies }
    }

    /// Takes the next piece of the body.
    pub fn body(&mut self, piece: &[u8]) {
        self.bodies.update(piece);
    }

    pub fn finish(self, session: Session) -> Judge {
        let dkim = vec![None; self.candidates.len()];
        Judge {
            session,
            candidates: self.candidates,
            chain: self.chain,
            authors: self.authors,
            digests: self.bodies.finish(),
            known: Known::default(),
            rounds: 0,
            dkim,
            arc: None,
        }
    }
}

impl Judge {
    /// A message that is at hand as a whole.
    pub fn new(message: &[u8], session: Session) -> Self {
        let header = Header::scan(message);
        let mut inspection = Inspection::begin(&header, message);
        inspection.body(&message[header.body_start()..]);
        inspection.finish(session)
    }

    /// The chain of the message, for whoever seals it afterwards.
    pub fn chain(&self) -> &arc::Chain {
        &self.chain
    }

    /// How many signatures there are to verify, those of a chain included.
    pub fn signatures(&self) -> usize {
        self.candidates.len() + 2 * self.chain.instances
    }

    pub fn answer(&mut self, question: Question, answer: Answer) {
        self.known.learn(question, answer);
    }

    /// Goes on as far as the answers allow.
    pub fn step(&mut self) -> Step {
        if let Ok(report) = self.judge() {
            return Step::Done(Box::new(report));
        }
        let wanted = self.known.take_wanted();
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            for question in wanted {
                self.known.learn(question, Answer::Temporary);
            }
            return self.step();
        }
        Step::Ask(wanted)
    }

    fn judge(&mut self) -> Result<Report, Pending> {
        // All checks run before any of them may end the round, so that their questions go out together.
        let policy = self.foresee();
        let iprev = self.session.ip.map(|ip| iprev::check(&self.known, ip)).transpose();
        let helo = self.spf(spf::check_helo);
        let spf = self.spf(spf::check_mail_from);
        self.verify_signatures();
        policy?;
        let (iprev, helo, spf) = (iprev?, helo?, spf?);
        let dkim = self.dkim.iter().cloned().collect::<Option<Vec<_>>>().ok_or(Pending)?;
        let arc = self.arc.clone().ok_or(Pending)?;
        let proved = dmarc::Proved { spf: spf.as_ref(), dkim: &dkim };
        let dmarc = dmarc::check(&self.known, &self.authors, &proved)?;
        let (sender, questions) = (self.session.sender.clone(), self.known.len());
        Ok(Report { iprev, helo, spf, dkim, arc, dmarc, sender, questions })
    }

    /// Asks for the policies of the authors before it is known whether anything aligns.
    fn foresee(&self) -> Result<(), Pending> {
        let domains = self.authors.as_ref().map_or(&[][..], |authors| &authors.domains);
        let walks: Vec<_> = domains.iter().map(|domain| dmarc::walk(&self.known, domain.as_str())).collect();
        walks.into_iter().try_for_each(|walk| walk.map(drop))
    }

    fn spf(&self, check: SpfCheck) -> Result<Option<spf::Verdict>, Pending> {
        let Some(ip) = self.session.ip else { return Ok(None) };
        let Session { helo, sender, receiver, now, .. } = &self.session;
        check(&self.known, &spf::Request { ip, helo, sender, receiver, now: *now }).map(Some)
    }

    /// Each signature is verified once, in the round that brings its key.
    fn verify_signatures(&mut self) {
        let now = self.session.now;
        for (candidate, verdict) in self.candidates.iter().zip(&mut self.dkim) {
            if verdict.is_none() {
                *verdict = dkim::verify(&self.known, candidate, &self.digests, now).ok();
            }
        }
        if self.arc.is_none() {
            self.arc = arc::verify(&self.known, &self.chain, &self.digests, now).ok();
        }
    }
}

type SpfCheck = fn(&Known, &spf::Request<'_>) -> Result<spf::Verdict, Pending>;

impl Report {
    /// Whether DNS failed where it decides: the message should be asked for again later (451), not let through.
    pub fn is_temporary(&self) -> bool {
        self.dmarc.outcome == dmarc::Outcome::TempError
            || self.spf.as_ref().is_some_and(|spf| spf.outcome == spf::Outcome::TempError)
    }
}
