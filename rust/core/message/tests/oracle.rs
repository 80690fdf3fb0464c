//! Our tree beside that of the crate mail-parser, over returned mails that neither was made for: parts with their
//! places, types, file names and contents, subject and senders. What differs is listed with its reason in
//! `tests/oracle/differences.tsv`; a difference that is not listed fails, and so does a listed one that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use angarium_message::{Kind, Part, Tree, address};
use mail_parser::{MessageParser, MimeHeaders, PartType};

/// The outside suites, if they are here.
fn suites() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared");
    let shared = std::env::var_os("ANGARIUM_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("suites");
    let required = std::env::var("ANGARIUM_REQUIRE").is_ok_and(|value| value == "all");
    assert!(folder.is_dir() || !required, "the suites are absent, and ANGARIUM_REQUIRE=all asks for them");
    folder.is_dir().then_some(folder)
}

/// Parts of the message itself: a message inside is one, what stands in it is not counted.
fn own_parts<'t>(tree: &'t Tree, data: &'t [u8]) -> Vec<Part<'t>> {
    let mut found = Vec::new();
    let mut waiting = vec![tree.root(data)];
    while let Some(part) = waiting.pop() {
        found.push(part);
        if part.kind() == Kind::Multipart {
            waiting.extend(part.children().collect::<Vec<_>>().into_iter().rev());
        }
    }
    found
}

/// The points in which the two differ, each once.
fn differences(data: &[u8]) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let tree = Tree::scan(data);
    let root = tree.root(data);
    let Some(theirs) = MessageParser::default().parse(data) else {
        return BTreeSet::from(["not parsed"]);
    };
    let mut differ = |what: &'static str, same: bool| {
        if !same {
            found.insert(what);
        }
    };
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject = root.text_of("Subject").unwrap_or_default();
    differ("subject", squeezed(&subject) == squeezed(theirs.subject().unwrap_or_default()));
    let senders = root.all("From").last().map(|field| address::mailboxes(root.value_of(field))).unwrap_or_default();
    let senders: Vec<String> = senders.into_iter().map(|one| one.address).filter(|one| !one.is_empty()).collect();
    let listed = theirs.from().map(|from| from.iter().filter_map(|one| one.address()).map(str::to_owned).collect());
    differ("from", senders == listed.unwrap_or_else(Vec::new));
    let ours = own_parts(&tree, data);
    if ours.len() != theirs.parts.len() {
        differ("parts", false);
        return found;
    }
    for (part, other) in ours.iter().zip(&theirs.parts) {
        let body = part.body_range();
        differ("place", (body.start, body.end) == (other.offset_body as usize, other.offset_end as usize));
        let kind = other.content_type().map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()));
        let said = part.value("Content-Type").map(|_| part.content_type().name());
        differ("type", said == kind.map(|kind| kind.to_ascii_lowercase()));
        differ("name", part.file_name().as_deref() == other.attachment_name());
        match &other.body {
            PartType::Text(text) | PartType::Html(text) => differ("text", part.text().text == **text),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => {
                differ("content", *part.decode().bytes == **bytes);
            }
            PartType::Message(_) => differ("kind", part.kind() == Kind::Message || !part.encoding().is_identity()),
            PartType::Multipart(_) => differ("kind", part.kind() == Kind::Multipart),
        }
    }
    found
}

#[test]
fn what_mail_parser_sees_is_what_we_see() {
    let Some(folder) = suites() else { return };
    let listed = include_str!("oracle/differences.tsv").lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let (mail, points) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
        assert!(columns.next().is_some_and(|why| !why.is_empty()), "{mail} is listed without a reason");
        (mail.to_owned(), points.to_owned())
    });
    let listed: BTreeMap<String, String> = listed.collect();
    let mut found = BTreeMap::new();
    let mut mails = 0;
    for entry in std::fs::read_dir(folder.join("bounce/eml")).expect("the folder of the suite").flatten() {
        let data = std::fs::read(entry.path()).expect("a mail of the suite");
        let points: Vec<_> = differences(&data).into_iter().collect();
        mails += 1;
        if !points.is_empty() {
            found.insert(entry.file_name().to_string_lossy().into_owned(), points.join(","));
        }
    }
    assert!(mails > 250, "the suite has {mails} mails");
    assert_eq!(found, listed);
}
