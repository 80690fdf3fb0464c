//! Lanes that end on this machine: Maildir folders, and next hops that Python serves.
//!
//! A Maildir lane takes messages in small groups that share the sync of the folder; what was written, synced and
//! renamed is settled, never before. A Python lane lends its entries and has them answered, or they expire.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use angarium_ledger::{Content, ContentBody, LaneRun};
use angarium_nouns::id::RecipientId;
use angarium_nouns::outcome::{Action, Judgement, Outcome, Reason, Scope};
use tokio::time::Instant;

use super::content::{self, Load, read_now};
use super::desk::Desk;
use super::envelope::{Envelope, group};
use super::handover::{Handover, Lent};
use super::maildir::{Folder, Letter, Source};
use super::render::Rendered;
use super::settle::Spoken;
use super::task::Slot;
use super::transaction::{Verdict, rules, verdict};
use super::{HandoverResult, refusals, settle};

/// Messages that share one sync of a folder.
const GROUP_MESSAGES: usize = 64;
/// Bytes of bodies held in memory for a group; a larger one is written alone.
const GROUP_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes read from a body file at once.
const FILE_BLOCK: usize = 256 * 1024;

/// Who is named as the host in the journal.
const MAILDIR: Spoken<'static> = Spoken { host: "maildir", tls: "", reports: false };
const PYTHON: &str = "python";

/// Carries out a run of a Maildir lane, group by group, until it is empty or the disk fails.
pub async fn fill_folder(desk: Arc<Desk>, run: LaneRun) {
    let _slot = Slot::new(&desk, run.lane);
    loop {
        let group = collect(&desk, &run).await;
        if group.is_empty() {
            return;
        }
        if let Err(error) = deliver_group(&desk, &run, group).await {
            let judgement = disk_failure(&error);
            settle::sleep(&desk, run.lane, &run.plan.folder, judgement, None);
            return;
        }
        if run.probe {
            desk.ledger.awake(Scope::Lane, run.lane, "", desk.now());
            return;
        }
    }
}

/// Leases and loads messages until a group is full.
async fn collect(desk: &Arc<Desk>, run: &LaneRun) -> Vec<(Envelope, Rendered)> {
    let (mut collected, mut bytes) = (Vec::new(), 0);
    let most = if run.probe { 1 } else { GROUP_MESSAGES };
    while collected.len() < most && bytes < GROUP_BYTES && !desk.is_stopping() {
        let since = Instant::now();
        let limit = GROUP_MESSAGES as u32;
        let Some(lease) = desk.ledger.take(run.lane, desk.now(), limit).map(Arc::new) else { break };
        let content = match content::load(desk, &lease, collected.is_empty()).await {
            Load::Ready(content) => content,
            Load::Unreadable => continue,
            Load::NoRoom => break,
        };
        bytes += content.head.body.length;
        for envelope in group(&lease, &content, GROUP_MESSAGES, since) {
            match content::render(desk, &envelope).await.filter(|_| !envelope.damaged) {
                Some(rendered) => collected.push((envelope, rendered)),
                None => refuse(desk, run, &envelope),
            }
        }
    }
    collected
}

fn refuse(desk: &Desk, run: &LaneRun, envelope: &Envelope) {
    let (judgement, reply) = refusals::damaged();
    let settled = Verdict::Settled { judgement, reply: Some(reply), may_repeat: false };
    settle::envelope(desk, run.lane, MAILDIR, envelope, &vec![settled; envelope.recipients.len()]);
}

/// Writes a group and settles it; on an error everything returns with no attempt counted.
async fn deliver_group(desk: &Arc<Desk>, run: &LaneRun, group: Vec<(Envelope, Rendered)>) -> io::Result<()> {
    let group = Arc::new(group);
    let (there, folder) = (Arc::clone(&group), PathBuf::from(&run.plan.folder));
    let written = desk.block(move || write_group(&folder, &there)).await;
    let written = written.unwrap_or_else(|| Err(io::Error::other("the writer was ended")));
    let verdict = match &written {
        Ok(()) => Verdict::Settled {
            judgement: verdict(Outcome::Delivered, Reason::Done, rules::LOCAL),
            reply: None,
            may_repeat: false,
        },
        Err(_) => Verdict::Returned,
    };
    for (envelope, _) in group.iter() {
        let verdicts = vec![verdict.clone(); envelope.recipients.len()];
        settle::envelope(desk, run.lane, MAILDIR, envelope, &verdicts);
    }
    written
}

fn write_group(root: &std::path::Path, group: &[(Envelope, Rendered)]) -> io::Result<()> {
    let mut folder = Folder::open(root)?;
    for (envelope, rendered) in group {
        for addressee in &envelope.recipients {
            let mut file = BodyStream { content: &envelope.content, at: rendered.from };
            let body = match &envelope.content.body {
                ContentBody::Inline(body) => Source::Memory(body.get(rendered.from as usize..).unwrap_or_default()),
                ContentBody::File(_) => Source::Stream(&mut file),
            };
            folder.write(Letter {
                id: RecipientId { message: envelope.lease.id, number: addressee.leased.number },
                sender: &envelope.sender,
                recipient: &addressee.recipient.address,
                front: &rendered.front,
                body,
            })?;
        }
    }
    folder.publish()
}

/// The body file of a message, read in order.
struct BodyStream<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for BodyStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = read_now(self.content, self.at, buffer.len().min(FILE_BLOCK))
            .ok_or_else(|| io::Error::other("the body's own file cannot be read"))?;
        buffer[..block.len()].copy_from_slice(&block);
        self.at += block.len() as u64;
        Ok(block.len())
    }
}

/// The disk speaks of every message for the folder, so the lane sleeps.
fn disk_failure(_error: &io::Error) -> Judgement {
    Judgement {
        outcome: Outcome::Deferred,
        scope: Scope::Lane,
        action: Action::Close,
        reason: Reason::LocalDisk,
        rule: rules::LOCAL_DISK,
    }
}

// --- Python's lanes ---

/// Lends what a Python lane has, message by message, while the door takes it.
pub async fn hand_over(desk: Arc<Desk>, run: LaneRun) {
    let _slot = Slot::new(&desk, run.lane);
    while !desk.is_stopping() {
        let limit = run.plan.recipients_per_transaction.max(1);
        let Some(lease) = desk.ledger.take(run.lane, desk.now(), limit).map(Arc::new) else { return };
        let Load::Ready(content) = content::load(&desk, &lease, true).await else { continue };
        for envelope in group(&lease, &content, limit as usize, Instant::now()) {
            if !lend(&desk, &run, &envelope) {
                let judgement = verdict(Outcome::Deferred, Reason::Throttle, rules::DOOR_FULL);
                settle::sleep(&desk, run.lane, PYTHON, Judgement { scope: Scope::Lane, ..judgement }, None);
                return;
            }
        }
        if run.probe {
            return;
        }
    }
}

fn lend(desk: &Desk, run: &LaneRun, envelope: &Envelope) -> bool {
    let now = desk.now();
    let deadline = now + desk.settings.load().handover_ms;
    let numbers = desk.handovers.lend(envelope.recipients.iter().map(|addressee| Lent {
        lease: Arc::clone(&envelope.lease),
        leased: addressee.leased,
        lane: run.lane,
        taken: now,
        deadline,
    }));
    let entries = numbers.iter().zip(&envelope.recipients);
    let event = Handover {
        lane: run.lane.0,
        id: envelope.lease.id,
        sender: envelope.sender.clone(),
        entries: entries.map(|(&number, to)| (number, to.leased.number, to.recipient.address.clone())).collect(),
        size: envelope.content.head.body.length,
        deadline,
    };
    let taken = (desk.handovers.door)(event);
    if !taken {
        numbers.iter().filter_map(|&number| desk.handovers.take(number)).for_each(|lent| return_lent(desk, &lent));
    }
    taken
}

/// Answers of Python; `false` for an entry that had expired.
pub fn settle_handovers(desk: &Desk, results: &[HandoverResult]) -> Vec<bool> {
    results.iter().map(|result| settle_handover(desk, result)).collect()
}

fn settle_handover(desk: &Desk, result: &HandoverResult) -> bool {
    let Some(lent) = desk.handovers.take(result.number) else { return false };
    let host = if result.host.is_empty() { PYTHON } else { &result.host };
    let judgement = verdict(result.outcome, result.reason, rules::PYTHON);
    settle::lent(desk, &lent, host, judgement, result.reply.as_ref(), result.may_repeat);
    true
}

/// Leases that Python did not answer in time: perhaps delivered.
pub fn expire_handovers(desk: &Desk) {
    let judgement = verdict(Outcome::Deferred, Reason::Uncertain, rules::LEASE_EXPIRED);
    for lent in desk.handovers.take_expired(desk.now()) {
        settle::lent(desk, &lent, PYTHON, judgement, None, true);
    }
}

/// At the stop: what Python still has is as uncertain as if its time were up.
pub fn return_handovers(desk: &Desk) {
    let judgement = verdict(Outcome::Deferred, Reason::Uncertain, rules::LEASE_EXPIRED);
    for lent in desk.handovers.take_expired(u64::MAX - 1) {
        settle::lent(desk, &lent, PYTHON, judgement, None, true);
    }
}

fn return_lent(desk: &Desk, lent: &Lent) {
    settle::give_back(desk, &lent.lease, &[lent.leased]);
}
