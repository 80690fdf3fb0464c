//! Who asked to hear that mail is late hears it: at the right time, once, and over crashes and checkpoints.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use angarium_ledger::{Body, Incoming, Ledger};
use angarium_nouns::envelope::DsnNotify;
use angarium_nouns::record::{ContentHead, Recipient, Successor};
use angarium_nouns::{MessageId, Millis, Outcome};
use angarium_spool::SimDisk;

use common::{START, open, settle, take};

const HOUR: Millis = 3_600_000;

fn recipient(address: &str, notify: u8) -> Recipient {
    Recipient { address: address.into(), notify: DsnNotify(notify), may_report: true, ..Recipient::default() }
}

fn message(id: MessageId, recipients: &[Recipient], change: impl FnOnce(&mut ContentHead)) -> Incoming {
    let mut head =
        ContentHead { id, received: START, sender: "sender@origin.example".into(), ..ContentHead::default() };
    change(&mut head);
    Incoming::prepare(head, recipients, Body::Inline(b"Subject: late\r\n\r\nbody\r\n".to_vec())).unwrap()
}

fn submit(ledger: &Ledger, recipients: &[Recipient], change: impl FnOnce(&mut ContentHead)) -> MessageId {
    let id = ledger.ids().reserve(START);
    ledger.commit(&[message(id, recipients, change)], START).unwrap();
    id
}

fn text(notice: &Incoming) -> String {
    String::from_utf8(notice.inline().unwrap().to_vec()).unwrap()
}

#[test]
fn who_asked_is_told_once() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk, START).unwrap();
    let asked = DsnNotify::DELAY | DsnNotify::FAILURE;
    let all =
        [recipient("a@x.example", asked), recipient("b@x.example", DsnNotify::FAILURE), recipient("c@x.example", 0)];
    let id = submit(&ledger, &all, |head| head.envid = "E7".into());
    for lease in take(&ledger, START, 10) {
        settle(&ledger, &lease, Outcome::Deferred, START);
    }
    assert!(ledger.notices_due(START + 4 * HOUR - 1, 10).is_empty());
    let now = START + 4 * HOUR;
    let notices = ledger.notices_due(now, 10);
    assert_eq!(notices.len(), 1);
    let (head, said) = (notices[0].head(), text(&notices[0]));
    assert_eq!((head.successor, &head.closes[..], &*head.sender), (Successor::DelayNotice, &[(id, 0)][..], ""));
    for words in ["Action: delayed", "Status: 4.7.1", "Original-Envelope-Id: E7", "Will-Retry-Until: ", "450"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!said.contains("b@x.example") && !said.contains("c@x.example"));
    ledger.commit(&notices, now).unwrap();
    assert!(ledger.notices_due(now + 9 * HOUR, 10).is_empty(), "told");
    assert_eq!(ledger.stats(now).states, [4, 0, 0, 0], "nothing is closed by it");
    // Written twice (the first was not seen committed): the second is not sent.
    let mut again = message(ledger.ids().reserve(now), &[recipient("sender@origin.example", 0)], |head| {
        head.sender = String::new();
        head.successor = Successor::DelayNotice;
        head.closes = vec![(id, 0)];
    });
    ledger.commit(std::slice::from_mut(&mut again), now).unwrap();
    assert_eq!(ledger.stats(now).messages, 2);
}

#[test]
fn a_crash_forgets_neither_question_nor_notice() {
    let disk = SimDisk::new(2);
    let asked = [recipient("a@x.example", DsnNotify::DELAY)];
    let id = {
        let (ledger, _) = open(&disk, START).unwrap();
        submit(&ledger, &asked, |_| {})
    };
    disk.restart();
    let now = START + 5 * HOUR;
    {
        let (ledger, _) = open(&disk, now).unwrap();
        let notices = ledger.notices_due(now, 10);
        assert_eq!(notices.len(), 1, "the question is in the record");
        assert_eq!(notices[0].head().closes, [(id, 0)]);
        ledger.commit(&notices, now).unwrap();
    }
    disk.restart();
    {
        let (ledger, _) = open(&disk, now).unwrap();
        assert!(ledger.notices_due(now + HOUR, 10).is_empty(), "the notice is in the log");
        ledger.close(now).unwrap();
    }
    let (ledger, _) = open(&disk, now).unwrap();
    assert!(ledger.notices_due(now + HOUR, 10).is_empty(), "and in the checkpoint");
}

#[test]
fn a_checkpoint_keeps_the_question() {
    let disk = SimDisk::new(3);
    {
        let (ledger, _) = open(&disk, START).unwrap();
        submit(&ledger, &[recipient("a@x.example", DsnNotify::DELAY)], |_| {});
        ledger.close(START).unwrap();
    }
    let (ledger, _) = open(&disk, START + 1).unwrap();
    assert!(ledger.notices_due(START + HOUR, 10).is_empty(), "looked at, and put off");
    assert_eq!(ledger.notices_due(START + 4 * HOUR, 10).len(), 1);
}

type Change = fn(&mut ContentHead);

#[test]
fn when_and_whether() {
    let (delay, never) = (DsnNotify::DELAY, DsnNotify::NEVER);
    let by: Change = |head| head.notify_by = Some(START + HOUR);
    let (plain, anonymous): (Change, Change) = (|_| {}, |head| head.sender = String::new());
    let later = Recipient { due: START + 10 * HOUR, ..recipient("a@x.example", delay) };
    let secret = Recipient { may_report: false, ..recipient("a@x.example", delay) };
    for (name, recipient, change, told_after) in [
        ("asked", recipient("a@x.example", delay), plain, Some(4 * HOUR)),
        ("not asked", recipient("a@x.example", 0), plain, None),
        ("a time by its sender (RFC 2852)", recipient("a@x.example", 0), by, Some(HOUR)),
        ("the same, and not to be told", recipient("a@x.example", never), by, None),
        ("held by its sender: late so long after", later, plain, Some(14 * HOUR)),
        ("nobody to tell", recipient("a@x.example", delay), anonymous, None),
        ("it may not be told", secret, plain, None),
    ] {
        let disk = SimDisk::new(4);
        let (ledger, _) = open(&disk, START).unwrap();
        submit(&ledger, &[recipient], change);
        let told = (0..20).map(|hours| hours * HOUR).find(|after| !ledger.notices_due(START + after, 10).is_empty());
        assert_eq!(told, told_after, "{name}");
    }
}
