//! Calls of the engine's owner: submissions, orders, listings, the journal; opening, closing and a crash between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use angarium_engine::event::{Done, Event, Level};
use angarium_engine::tables::{Submission, SubmittedRecipient};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use support::{Folder, House, table};

fn submission(recipient: &str) -> Vec<u8> {
    let recipients = vec![SubmittedRecipient { address: recipient.into(), ..SubmittedRecipient::default() }];
    table(&Submission { sender: "app@here.example".into(), recipients, complete: true, ..Submission::default() })
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Refused {
    code: u16,
}

fn read<T: for<'a> Deserialize<'a>>(done: Done) -> T {
    rmp_serde::from_slice(&done.result.unwrap().result).unwrap()
}

#[test]
fn a_submission_is_durable_when_done() {
    let house = House::new();
    let ticket = house.engine.submit(&submission("user@there.example"), b"Subject: x\r\n\r\nhi\r\n".to_vec()).unwrap();
    let Id { id } = read(house.done(ticket));
    assert_eq!((house.disk.synced(), house.figure("received")), (1, 1));
    let ticket = house.engine.content(id.parse().unwrap(), None).unwrap();
    let body = house.done(ticket).result.unwrap().body.unwrap();
    let angarium_engine::asks::View::Memory(bytes, _) = body else { panic!("it is small") };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.starts_with("Received: by mx.example with HTTP id "), "{text}");
    assert!(text.contains("\r\nDate: ") && text.contains(&format!("\r\nMessage-ID: <{id}@mx.example>")), "{text}");
}

#[test]
fn what_is_no_message_is_refused() {
    let house = House::new();
    for (table, content, code) in [
        (submission("nobody"), &b"x\r\n"[..], 501),
        (table(&Submission::default()), b"x\r\n", 554),
        (submission("user@there.example"), b"bare\nnewline", 550),
    ] {
        let ticket = house.engine.submit(&table, content.to_vec()).unwrap();
        let problem = house.done(ticket).result.unwrap_err();
        let refused: Refused = rmp_serde::from_slice(&problem.result).unwrap();
        assert_eq!((problem.word, refused.code), ("refused", code));
    }
    assert!(house.engine.submit(b"\x81\xa1x\x01", Vec::new()).is_err());
}

#[test]
fn a_large_submission_goes_to_a_file() {
    let house = House::new();
    let content = [b"Subject: x\r\n\r\n".to_vec(), b"0123456789abcdef0123456789abcdef\r\n".repeat(60_000)].concat();
    let ticket = house.engine.submit(&submission("user@there.example"), content).unwrap();
    let Id { id } = read(house.done(ticket));
    let ticket = house.engine.content(id.parse().unwrap(), None).unwrap();
    let body = house.done(ticket).result.unwrap().body.unwrap();
    assert!(matches!(body, angarium_engine::asks::View::File(..)));
}

#[derive(Deserialize)]
struct Controlled {
    changed: u64,
}

#[derive(Deserialize)]
struct Found {
    entries: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Page {
    records: Vec<(u64, ByteBuf, Vec<String>)>,
    next: ByteBuf,
    end: bool,
}

fn predicate_all() -> std::collections::BTreeMap<&'static str, bool> {
    std::collections::BTreeMap::from([("all", true)])
}

#[derive(serde::Serialize)]
struct Control {
    kind: &'static str,
    r#where: std::collections::BTreeMap<&'static str, bool>,
}

#[test]
fn orders_listings_and_the_journal() {
    let house = House::new();
    for n in 0..3 {
        assert_eq!(house.client().deliver(&format!("user{n}@there.example"), "x").0, 250);
    }
    let ticket = house.engine.find(&table(&predicate_all()), Vec::new(), 10).unwrap();
    assert_eq!(read::<Found>(house.done(ticket)).entries.len(), 3);
    let ticket = house.engine.control(&table(&Control { kind: "cancel", r#where: predicate_all() })).unwrap();
    assert_eq!(read::<Controlled>(house.done(ticket)).changed, 3);
    let ticket = house.engine.find(&table(&predicate_all()), Vec::new(), 10).unwrap();
    assert_eq!(read::<Found>(house.done(ticket)).entries.len(), 0);
    house.event(|event| matches!(event, Event::Flag(Level::JournalGrew)));
    let ticket = house.engine.read_journal(b"", 0, 100).unwrap();
    let page: Page = read(house.done(ticket));
    assert!(page.records.len() >= 6 && page.end, "{}", page.records.len());
    assert!(page.records.iter().any(|(_, _, strings)| strings.iter().any(|text| text == "user1@there.example")));
    let ticket = house.engine.follow("reader", &page.next, "none").unwrap();
    house.done(ticket).result.unwrap();
    let ticket = house.engine.read_journal(&page.next, 1 << 1, 100).unwrap();
    assert_eq!(read::<Page>(house.done(ticket)).records.len(), 0);
}

#[test]
fn a_new_domain_asks_for_its_route() {
    let house = House::new();
    assert_eq!(house.client().deliver("user@there.example", "x").0, 250);
    house.event(|event| matches!(event, Event::Flag(Level::RouteWanted)));
    let wanted = house.engine.wanted_routes(10).unwrap();
    assert_eq!((wanted.len(), wanted[0].domain.as_str()), (1, "there.example"));
}

#[derive(Deserialize)]
struct Recovered {
    entries: u64,
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let house = House::new();
    let mut acknowledged = 0;
    for n in 0..20 {
        acknowledged += u64::from(house.client().deliver(&format!("user{n}@there.example"), "x").0 == 250);
    }
    assert_eq!(acknowledged, 20);
    // A process that dies leaves what it wrote: a copy of the folder, taken while everything runs, is that.
    let copy = Folder::new();
    copy_folder(&house.folder.0, &copy.0);
    let _ = std::fs::remove_file(copy.0.join("lock"));
    assert_eq!(entries_in(copy), acknowledged);
}

#[test]
fn close_lets_the_lock_go_and_loses_nothing() {
    let house = House::new();
    assert_eq!(house.client().deliver("user@there.example", "x").0, 250);
    house.engine.close();
    let copy = Folder::new();
    copy_folder(&house.folder.0, &copy.0);
    assert_eq!(entries_in(copy), 1);
    let again = angarium_engine::engine::Engine::open(angarium_engine::engine::Settings {
        spool: house.folder.0.display().to_string(),
        node: 1,
        segment_bytes: 1 << 20,
        workers: 1,
    });
    assert!(again.is_ok());
}

/// Recovers a folder and counts its open entries.
fn entries_in(folder: Folder) -> u64 {
    let house = House::recovering(folder);
    let recovered: Recovered = read(house.recovered.lock().take().unwrap());
    recovered.entries
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().filter_map(Result::ok) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}
