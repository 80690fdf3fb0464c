//! Lanes that end here: Maildir folders and Python's next hops; and how delivery stops.
use std::time::Duration;

use crate::house::{House, plan, quick};
use crate::peer::{self, Offers};
use angarium_engine::delivery::{DeliverySettings, HandoverResult, rules};
use angarium_ledger::{Plan, Protocol};
use angarium_nouns::outcome::{Outcome, Reason};
use angarium_nouns::record::Settled;

const BODY: &[u8] = b"Subject: hello\r\n\r\nline\r\n";

fn words(fact: &Settled) -> (Outcome, Reason, u16, bool) {
    (fact.outcome, fact.reason, fact.rule, fact.may_repeat)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maildir_takes_messages_and_names_them_by_recipient() {
    let folder = std::env::temp_dir().join(format!("delivery-local-{}", std::process::id()));
    let plan = Plan { folder: folder.to_string_lossy().into_owned(), connections: 1, ..Plan::default() };
    let mut house = House::open(Protocol::Maildir, plan, quick());
    let first = house.submit("from@here.example", &["a@x.example", "b@x.example"], BODY);
    let second = house.submit("", &["c@x.example"], BODY);
    let (settled, _) = house.wait(3, 0).await;
    for fact in &settled {
        assert_eq!(words(fact), (Outcome::Delivered, Reason::Done, rules::LOCAL, false));
    }
    house.stop().await;
    let text = |name: String| std::fs::read_to_string(folder.join("new").join(name)).unwrap();
    let want = "Return-Path: <from@here.example>\nDelivered-To: b@x.example\nSubject: hello\n\nline\n";
    assert_eq!(text(format!("{first}.1")), want);
    assert!(text(format!("{second}.0")).starts_with("Return-Path: <>\nDelivered-To: c@x.example\n"));
    assert_eq!(std::fs::read_dir(folder.join("new")).unwrap().count(), 3);
    assert_eq!(std::fs::read_dir(folder.join("tmp")).unwrap().count(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_puts_the_lane_to_sleep() {
    let file = std::env::temp_dir().join(format!("delivery-no-folder-{}", std::process::id()));
    std::fs::write(&file, b"in the way").unwrap();
    let plan = Plan { folder: file.to_string_lossy().into_owned(), ..Plan::default() };
    let mut house = House::open(Protocol::Maildir, plan, quick());
    house.submit("from@here.example", &["a@x.example", "b@x.example"], BODY);
    let (settled, slept) = house.wait(0, 1).await;
    assert_eq!((settled.len(), slept[0].reason, slept[0].rule), (0, Reason::LocalDisk, rules::LOCAL_DISK));
    house.stop().await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_answers_or_its_time_is_up() {
    let mut house = House::open(Protocol::Python, plan(&[]), DeliverySettings { handover_ms: 300, ..quick() });
    let id = house.submit("from@here.example", &["a@x.example", "b@x.example"], BODY);
    let lent = loop {
        if let Some(lent) = house.lent.lock().pop() {
            break lent;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((lent.id, lent.sender.as_str(), lent.size), (id, "from@here.example", BODY.len() as u64));
    let names: Vec<_> = lent.entries.iter().map(|(_, number, address)| (*number, address.as_str())).collect();
    assert_eq!(names, [(0, "a@x.example"), (1, "b@x.example")]);
    let answer = HandoverResult {
        number: lent.entries[0].0,
        outcome: Outcome::Delivered,
        reason: Reason::Done,
        reply: None,
        host: "api.example".into(),
        may_repeat: false,
    };
    let delivery = house.delivery.as_ref().unwrap();
    assert_eq!(delivery.settle(std::slice::from_ref(&answer)), [true]);
    assert_eq!(delivery.settle(std::slice::from_ref(&answer)), [false], "answered once");
    let (settled, _) = house.wait(2, 0).await;
    assert_eq!(words(&settled[0]), (Outcome::Delivered, Reason::Done, rules::PYTHON, false));
    assert_eq!(words(&settled[1]), (Outcome::Deferred, Reason::Uncertain, rules::LEASE_EXPIRED, true));
    let late = HandoverResult { number: lent.entries[1].0, ..answer };
    assert_eq!(house.delivery.as_ref().unwrap().settle(&[late]), [false], "too late");
    house.stop().await;
}

/// At the end of the stop's patience connections are cut off: before the dot nothing happened, behind it who knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_cuts_off_and_leaves_nothing_leased() {
    for (script, uncertain) in [("220 !ehlo !mail rcpt hang", false), ("220 !ehlo !mail !rcpt !data dot hang", true)] {
        let peer = peer::start(&[script], Offers::Everything).await;
        let slow = DeliverySettings { rcpt_ms: 60_000, dot_ms: 60_000, ..quick() };
        let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), slow);
        house.submit("from@here.example", &["a@x.example"], BODY);
        peer.seen.hanging.notified().await;
        let delivery = house.delivery.take().unwrap();
        assert_eq!(delivery.finish(Duration::from_millis(100)).await, 1);
        let (settled, _) = house.facts();
        assert_eq!(settled.len(), usize::from(uncertain), "{script}");
        assert!(
            settled.iter().all(|fact| words(fact) == (Outcome::Deferred, Reason::Uncertain, rules::UNCERTAIN, true))
        );
        house.stop().await;
    }
}
