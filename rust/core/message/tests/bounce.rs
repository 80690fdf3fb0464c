//! The labels of the outside bounce suite, printed with what misses; the floors are those the project promises. Why
//! each miss misses stands in docs/bounce-misses.md.

use std::collections::BTreeMap;
use std::path::PathBuf;

use angarium_message::bounce;

#[derive(serde::Deserialize)]
struct Label {
    status: String,
    reply: String,
    reason: String,
    hard: bool,
}

/// How many labels there are and how many agree in status, hardness, reply and reason.
#[derive(Debug, Default)]
struct Score {
    all: usize,
    status: usize,
    hard: usize,
    reply: usize,
    reason: usize,
}

fn suite() -> Option<PathBuf> {
    let shared = std::env::var_os("ANGARIUM_SHARED").map_or_else(|| PathBuf::from("../../../../shared"), PathBuf::from);
    let folder = shared.join("suites/bounce");
    if folder.exists() {
        return Some(folder);
    }
    let required = std::env::var("ANGARIUM_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "the suite bounce is absent, and ANGARIUM_REQUIRE=all asks for it");
    println!("skipped: the suite bounce is absent");
    None
}

#[test]
fn labels() {
    let Some(folder) = suite() else { return };
    let text = std::fs::read_to_string(folder.join("labels.json")).unwrap();
    let labels: BTreeMap<String, Vec<Label>> = serde_json::from_str(&text).unwrap();
    let mut score = Score::default();
    for (name, wanted) in &labels {
        let found = bounce::read(&std::fs::read(folder.join("eml").join(name)).unwrap());
        for (at, want) in wanted.iter().enumerate() {
            score.all += 1;
            let Some(got) = found.get(at) else {
                println!("{name} {at}: nothing, wanted {} {} {}", want.status, want.reply, want.reason);
                continue;
            };
            let agrees = [
                got.status == want.status,
                got.hard == want.hard,
                got.reply == want.reply,
                got.reason.name() == want.reason,
            ];
            score.status += usize::from(agrees[0]);
            score.hard += usize::from(agrees[1]);
            score.reply += usize::from(agrees[2]);
            score.reason += usize::from(agrees[3]);
            if agrees != [true; 4] {
                let words: String =
                    got.diagnostic.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(170).collect();
                println!(
                    "{name} {at}: {} {} {} ({}), wanted {} {} {}: {words}",
                    got.status,
                    got.reply,
                    got.reason.name(),
                    got.rule,
                    want.status,
                    want.reply,
                    want.reason
                );
            }
        }
    }
    println!("{score:?}");
    assert!(score.status * 100 >= score.all * 95, "{score:?}");
    assert!(score.hard * 100 >= score.all * 95, "{score:?}");
    assert!(score.reason * 100 >= score.all * 90, "{score:?}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_survive(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = bounce::read(&data);
    }
}
