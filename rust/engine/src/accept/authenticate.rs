//! The stage *authenticate*: SPF, DKIM, ARC, DMARC and iprev side by side, our Authentication-Results on top.
//!
//! Small messages with few signatures are judged on the worker (under 200 µs with a warm memory of DNS), others on a
//! bounded pool; waiting for DNS holds neither. Fields that somebody else wrote in our name are taken out (RFC 8601 5).
//! Failures of DNS are `temperror`, never a pass; all of it together has a bound in time.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use angarium_auth::inspection::Judge;
use angarium_auth::{Inspection, Question, Report, Session, Step, dkim, results};
use angarium_ledger::{Body, BodyFile, BodyReader, Ledger};
use angarium_message::header::MAX_HEADER;
use angarium_message::{Field, Header, Tree, findings};
use angarium_nouns::{Millis, Reply, Verdicts};
use serde_bytes::ByteBuf;

use super::{Chain, Message, consequences};
use crate::delivery::render;
use crate::dns::Dns;
use crate::intake::Intake;
use crate::policy::Judges;

/// Hashed on the worker: 32 KiB in both forms take 60 µs.
const HASHED_ON_THE_WORKER: usize = 32 << 10;
/// Verified on the worker: an RSA signature of 2048 bits takes 30 µs.
const VERIFIED_ON_THE_WORKER: usize = 2;
/// Read of a body file at once.
pub(super) const PIECE: usize = 256 << 10;
/// All of it together. RFC 7208 4.6.4 asks for 20 s at least for SPF alone; clients wait ten minutes.
const PATIENCE: Millis = 30_000;
const RESULTS: &str = "Authentication-Results";

/// The body could not be looked at: the disk, or the end of the engine.
const UNREADABLE: Reply = Reply::new(451, (4, 3, 0), "Local error in processing, try again later");

/// Is the sender of this message to be judged?
pub(super) fn is_wanted(message: &Message) -> bool {
    let Some(peer) = message.peer else { return false };
    let judges = message.policy.face(message.listener).map_or(Judges::Off, |face| face.listener.judges());
    match judges {
        Judges::Off => false,
        Judges::Strangers => !message.session.trusted && !peer.ip().to_canonical().is_loopback(),
        Judges::All => true,
    }
}

pub(super) async fn authenticate(intake: &Intake, mut message: Box<Message>) -> Result<Box<Message>, Reply> {
    let begun = intake.clock.micros();
    let looked = look(intake, &mut message).await.ok_or(UNREADABLE)?;
    let is_long = looked.is_long || looked.judge.signatures() > VERIFIED_ON_THE_WORKER;
    let (judge, report) = decide(intake, looked.judge, is_long).await.ok_or(UNREADABLE)?;
    let mut verdicts = verdicts(&report, message.policy.authserv_id());
    verdicts.findings = looked.findings;
    let judged = consequences::judge(&message.policy.judging, &judge, &report, &mut verdicts);
    intake.verdicts.count(&verdicts);
    intake.counters.judged.one_more();
    intake.counters.judge_time.record(intake.clock.micros().saturating_sub(begun));
    judged?;
    take_out(&mut message, looked.forged);
    consequences::apply(&mut message, &verdicts);
    message.put_on_top(&results::field_of(&verdicts.results));
    message.verdicts = Some(Box::new(verdicts));
    if intake.signing.keys().seals() {
        message.chain = Some(Box::new(Chain { chain: judge.chain().clone(), outcome: report.arc.outcome }));
    }
    Ok(message)
}

/// A message that was read once.
struct Looked {
    judge: Judge,
    /// Ranges of fields in our name, counted from the content as received.
    forged: Vec<Range<usize>>,
    findings: Vec<String>,
    is_long: bool,
}

/// Reads the message: its header, and the hashes of its body.
async fn look(intake: &Intake, message: &mut Message) -> Option<Looked> {
    let front = message.front;
    let look = Look {
        session: session(message, intake.clock.now()),
        id: message.policy.authserv_id().to_owned(),
        scans: message.policy.judging.scans(),
    };
    match &mut message.body {
        Body::Inline(bytes) if bytes.len() - front <= HASHED_ON_THE_WORKER => Some(look.at(&bytes[front..], false)),
        Body::Inline(bytes) => {
            let bytes = std::mem::take(bytes);
            let work = move || {
                let looked = look.at(&bytes[front..], true);
                (looked, bytes)
            };
            let (looked, bytes) = intake.judging.run(work).await?;
            message.body = Body::Inline(bytes);
            Some(looked)
        }
        Body::File(file) => {
            let (ledger, file) = (intake.ledger.clone(), file.clone());
            intake.judging.run(move || look.into_file(&ledger, &file, front)).await?
        }
        Body::Parts(parts) => Some(look.at(&parts.concat()[front..], false)),
    }
}

fn session(message: &Message, now: Millis) -> Session {
    Session {
        ip: message.peer.map(|peer| IpAddr::to_canonical(&peer.ip())),
        helo: message.session.hello.clone(),
        sender: message.sender_text().to_owned(),
        receiver: message.policy.table.hostname.clone(),
        now,
    }
}

/// What a look at a message must know.
struct Look {
    session: Session,
    id: String,
    /// Findings lead to something.
    scans: bool,
}

impl Look {
    fn at(self, content: &[u8], is_long: bool) -> Looked {
        let header = Header::scan(content);
        let mut inspection = Inspection::begin(&header, content);
        inspection.body(&content[header.body_start()..]);
        let (forged, findings) = (self.forged(&header), self.findings(content));
        Looked { judge: inspection.finish(self.session), forged, findings, is_long }
    }

    /// The same of a body in a file, read piece by piece; as a whole only where it is scanned.
    fn into_file(self, ledger: &Ledger, file: &BodyFile, front: usize) -> Option<Looked> {
        let reader = ledger.read_body(file).ok()?;
        let length = (file.length as usize).saturating_sub(front);
        let mut start = vec![0; if self.scans { length } else { length.min(MAX_HEADER + PIECE) }];
        let mut at = front as u64;
        read_full(&reader, &mut start, &mut at)?;
        let header = Header::scan(&start);
        let mut inspection = Inspection::begin(&header, &start);
        inspection.body(&start[header.body_start()..]);
        let (forged, findings) = (self.forged(&header), self.findings(&start));
        read_rest(&reader, at, file.length, |piece| inspection.body(piece))?;
        Some(Looked { judge: inspection.finish(self.session), forged, findings, is_long: true })
    }

    /// Fields that only we may write.
    fn forged(&self, header: &Header<'_>) -> Vec<Range<usize>> {
        let mut forged = results::forged(header, &[&self.id]);
        forged.extend(header.all(consequences::FIELD).map(Field::range));
        forged.sort_by_key(|range| range.start);
        forged
    }

    /// Each kind once.
    fn findings(&self, content: &[u8]) -> Vec<String> {
        if !self.scans {
            return Vec::new();
        }
        let found = findings::findings(&Tree::scan(content), content);
        let mut kinds: Vec<_> = found.iter().map(|finding| finding.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().map(ToOwned::to_owned).collect()
    }
}

pub(super) fn read_full(reader: &BodyReader, into: &mut [u8], at: &mut u64) -> Option<()> {
    let mut filled = 0;
    while filled < into.len() {
        let count = reader.read_at(&mut into[filled..], *at).ok().filter(|count| *count > 0)?;
        filled += count;
        *at += count as u64;
    }
    Some(())
}

/// Gives everything from `at` to the end of a body of this length, piece by piece.
pub(super) fn read_rest(reader: &BodyReader, mut at: u64, length: u64, mut take: impl FnMut(&[u8])) -> Option<()> {
    let mut piece = vec![0; PIECE];
    while at < length {
        let left = (length - at).min(PIECE as u64) as usize;
        read_full(reader, &mut piece[..left], &mut at)?;
        take(&piece[..left]);
    }
    Some(())
}

/// What the judge does next when nobody is asked.
enum Next {
    Ask(Vec<Question>),
    Done(Box<Report>),
}

/// Questions and answers until the report is there.
async fn decide(intake: &Intake, mut judge: Judge, is_long: bool) -> Option<(Judge, Box<Report>)> {
    let until = intake.clock.now() + PATIENCE;
    loop {
        let dns = intake.dns.clone();
        let next;
        (judge, next) =
            if is_long { intake.judging.run(move || advance(judge, &dns)).await? } else { advance(judge, &dns) };
        match next {
            Next::Done(report) => return Some((judge, report)),
            Next::Ask(questions) => {
                for (question, answer) in intake.dns.ask(questions, until).await {
                    judge.answer(question, answer);
                }
            }
        }
    }
}

/// Goes as far as memory reaches.
fn advance(mut judge: Judge, dns: &Arc<Dns>) -> (Judge, Next) {
    loop {
        let asked = match judge.step() {
            Step::Done(report) => return (judge, Next::Done(report)),
            Step::Ask(asked) => asked,
        };
        let mut unknown = Vec::new();
        for question in asked {
            match dns.remembered(&question) {
                Some(answer) => judge.answer(question, answer),
                None => unknown.push(question),
            }
        }
        if !unknown.is_empty() {
            return (judge, Next::Ask(unknown));
        }
    }
}

fn verdicts(report: &Report, id: &str) -> Verdicts {
    let word = |outcome: Option<&'static str>| outcome.unwrap_or_default().to_owned();
    Verdicts {
        iprev: word(report.iprev.as_ref().map(|iprev| iprev.outcome.as_str())),
        helo: word(report.helo.as_ref().map(|spf| spf.outcome.as_str())),
        spf: word(report.spf.as_ref().map(|spf| spf.outcome.as_str())),
        dkim: dkim_word(&report.dkim).to_owned(),
        arc: report.arc.outcome.as_str().to_owned(),
        dmarc: report.dmarc.outcome.as_str().to_owned(),
        disposition: report.dmarc.disposition.as_str().to_owned(),
        author: report.dmarc.authors.first().map_or_else(String::new, |author| author.domain.as_str().to_owned()),
        results: results::value(report, id),
        ..Verdicts::default()
    }
}

/// All signatures as one word: what the best of them is.
fn dkim_word(verdicts: &[dkim::Verdict]) -> &'static str {
    use dkim::Outcome::{Fail, Neutral, Pass, PermError, Policy, TempError};
    let order = [Pass, TempError, Fail, Policy, PermError, Neutral];
    let best = order.into_iter().find(|outcome| verdicts.iter().any(|verdict| verdict.outcome == *outcome));
    best.map_or("none", dkim::Outcome::as_str)
}

/// Takes out what claims to be ours. From a body in a file goes every field of these names, since it stays as it is.
fn take_out(message: &mut Message, forged: Vec<Range<usize>>) {
    if forged.is_empty() {
        return;
    }
    let front = message.front;
    let Body::Inline(bytes) = &mut message.body else {
        let names = [RESULTS, consequences::FIELD];
        return message.edit(&names.map(|name| (render::REMOVE, ByteBuf::from(name))));
    };
    for range in forged.into_iter().rev() {
        bytes.drain(front + range.start..front + range.end);
    }
}
