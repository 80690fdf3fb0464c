//! What goes over the wire: groups of recipients, variants, bodies in files of their own.
use crate::house::{House, plan, quick};
use crate::peer::{self, Offers, Taken};
use angarium_ledger::{Plan, Protocol};
use angarium_nouns::record::{ContentHead, Recipient, Variant};
use serde_bytes::ByteBuf;

const BODY: &[u8] = b"X-Gone: 1\r\nSubject: hello\r\n\r\nline\r\n";

fn to(n: usize) -> Recipient {
    Recipient { address: format!("r{n:03}@x.example"), ..Recipient::default() }
}

/// Delivers one message to a good peer; gives what it took, by recipients.
async fn deliver(plan_of: impl FnOnce(Plan) -> Plan, head: ContentHead, recipients: Vec<Recipient>) -> Vec<Taken> {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, plan_of(plan(&[peer.port])), quick());
    let count = recipients.len();
    house.submit_all(vec![(head, recipients, BODY.to_vec())]);
    house.wait(count, 0).await;
    house.stop().await;
    let mut taken = peer.seen.taken.lock().clone();
    taken.sort_by(|a, b| a.recipients.cmp(&b.recipients));
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipients_share_a_transaction_up_to_the_limit() {
    let head = ContentHead { sender: "s@b.example".into(), ..ContentHead::default() };
    let taken = deliver(|plan| plan, head.clone(), (0..250).map(to).collect()).await;
    let counts: Vec<_> = taken.iter().map(|one| one.recipients.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 250);
    assert_eq!((counts.len(), counts.iter().max()), (3, Some(&100)));
    let ten = |plan| Plan { recipients_per_transaction: 10, ..plan };
    let taken = deliver(ten, head, (0..25).map(to).collect()).await;
    assert_eq!(taken.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_and_variants_part_recipients() {
    let edits = vec![(0, ByteBuf::from("X-New: 1")), (1, ByteBuf::from("X-Gone"))];
    let verp = Variant { sender: "b+{=}@bounce.example".into(), ..Variant::default() };
    let variants = vec![Variant::default(), Variant { edits, ..Variant::default() }, verp];
    let head = ContentHead { sender: "s@b.example".into(), variants, ..ContentHead::default() };
    let mut recipients: Vec<_> = (0..8).map(to).collect();
    recipients[2].variant = 1;
    recipients[3].variant = 1;
    recipients[4].sender = Some("own@b.example".into());
    recipients[5].sender = Some(String::new());
    recipients[6].variant = 2;
    recipients[7].variant = 2;
    let taken = deliver(|plan| plan, head, recipients).await;
    let edited = "X-New: 1\r\nSubject: hello\r\n\r\nline\r\n";
    let whole = std::str::from_utf8(BODY).unwrap();
    let want = [
        ("s@b.example", "r000 r001", whole),
        ("s@b.example", "r002 r003", edited),
        ("own@b.example", "r004", whole),
        ("", "r005", whole),
        ("b+r006=x.example@bounce.example", "r006", whole),
        ("b+r007=x.example@bounce.example", "r007", whole),
    ];
    assert_eq!(taken.len(), want.len());
    for (one, (sender, recipients, body)) in taken.iter().zip(want) {
        let names: Vec<_> = one.recipients.iter().map(|address| &address[..4]).collect();
        assert_eq!((one.sender.as_str(), names.join(" ").as_str(), one.body.as_str()), (sender, recipients, body));
    }
}

/// A body of 3 MiB streams from its own file, whole, also with its header edited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_stream_from_their_files() {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
    let text = format!("X-Gone: 1\r\nSubject: big\r\n\r\n{}", ".line of a large body\r\n".repeat(150_000));
    let variants =
        vec![Variant::default(), Variant { edits: vec![(1, ByteBuf::from("x-gone"))], ..Variant::default() }];
    let head = ContentHead { variants, ..ContentHead::default() };
    house.submit_file(&[to(0), Recipient { variant: 1, ..to(1) }], head, text.as_bytes());
    house.wait(2, 0).await;
    house.stop().await;
    let mut taken = peer.seen.taken.lock().clone();
    taken.sort_by(|a, b| a.recipients.cmp(&b.recipients));
    assert!(taken[0].body == text, "the body of {} octets arrived as {}", text.len(), taken[0].body.len());
    assert!(taken[1].body == text["X-Gone: 1\r\n".len()..], "edited");
}
