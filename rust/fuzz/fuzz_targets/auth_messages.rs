//! Messages with signatures and chains: judged to the end with every answer missing, whole and in pieces alike.
#![no_main]

use angarium_auth::inspection::{Inspection, Judge, Report, Session, Step};
use angarium_auth::{Answer, Missing};
use angarium_message::Header;
use libfuzzer_sys::fuzz_target;

fn session() -> Session {
    let ip = Some([192, 0, 2, 1].into());
    Session {
        ip,
        helo: "a.example".into(),
        sender: "a@b.example".into(),
        receiver: String::new(),
        now: 1_700_000_000_000,
    }
}

fn judged(mut judge: Judge) -> Report {
    loop {
        match judge.step() {
            Step::Done(report) => return *report,
            Step::Ask(questions) => {
                for question in questions {
                    judge.answer(question, Answer::NotFound(Missing::Name));
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = judged(Judge::new(data, session()));
    let header = Header::scan(data);
    let mut inspection = Inspection::begin(&header, data);
    data[header.body_start()..].chunks(3).for_each(|piece| inspection.body(piece));
    assert_eq!(whole, judged(inspection.finish(session())));
});
