//! One SMTP transaction as a value: replies in, verdicts on recipients out. No socket, no clock, no ledger.
//!
//! Replies come in the order of the commands (MAIL, one RCPT for each recipient, DATA unless the content goes in a
//! chunk, then one behind the content, or one for each accepted recipient in LMTP: RFC 2033 4.2), so the number of the reply says what it answers,
//! whether the commands were pipelined (RFC 2920) or sent step by step. Each recipient gets exactly one verdict:
//! from its own reply, from the transaction's, or from [`Transaction::broken`] when the connection fails.

use angarium_nouns::outcome::{Action, Judgement, Outcome, Phase, Reason, Scope, judge};
use angarium_nouns::reply::Reply;

/// Rule ids of verdicts that no reply gave (9xx in the journal, beside the table in `nouns::outcome`).
pub mod rules {
    /// A reply that does not belong where it came.
    pub const OUT_OF_STEP: u16 = 901;
    /// The connection ended or stood still before the final dot.
    pub const BROKEN: u16 = 902;
    /// The connection ended or stood still behind the final dot.
    pub const UNCERTAIN: u16 = 903;
    /// No connection could be made.
    pub const CONNECT: u16 = 904;
    /// Larger than the peer's SIZE (RFC 1870 6.1).
    pub const TOO_LARGE: u16 = 905;
    /// 8BITMIME is missing (RFC 6152).
    pub const EIGHT_BIT: u16 = 906;
    /// SMTPUTF8 is missing (RFC 6531 3.2).
    pub const UTF8: u16 = 907;
    /// The content cannot go over SMTP (a bare CR or LF).
    pub const CONTENT: u16 = 908;
    /// The local disk.
    pub const LOCAL_DISK: u16 = 909;
    /// A Python next hop did not answer in time.
    pub const LEASE_EXPIRED: u16 = 910;
    /// A local mailbox took it.
    pub const LOCAL: u16 = 911;
    /// A Python next hop said so.
    pub const PYTHON: u16 = 912;
    /// Python takes no more events now.
    pub const DOOR_FULL: u16 = 913;
    /// The lane demands TLS and the peer offers none.
    pub const NO_TLS: u16 = 914;
    /// STARTTLS was offered and refused.
    pub const TLS_REFUSED: u16 = 915;
    /// Something was said between STARTTLS and the handshake.
    pub const TLS_INJECTED: u16 = 916;
    pub const TLS_HANDSHAKE: u16 = 917;
    /// The certificate is not good for the host, by its roots or its TLSA records.
    pub const TLS_CERTIFICATE: u16 = 918;
    /// Our own certificate or roots cannot be read.
    pub const TLS_SETTINGS: u16 = 919;
    /// The login at a smarthost was refused, or there is no way to log in.
    pub const LOGIN: u16 = 920;
    /// REQUIRETLS is missing (RFC 8689 4.2.1).
    pub const REQUIRE_TLS: u16 = 921;
}

/// What is decided on one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An attempt that settles the entry.
    Settled { judgement: Judgement, reply: Option<Reply>, may_repeat: bool },
    /// Back into the queue as it was.
    Returned,
}

/// What the connection does after a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// More replies are to come (or more commands to be sent).
    Wait,
    /// 354, and at least one recipient was accepted: send the body and the dot.
    SendBody,
    /// 354 although nobody was accepted: a lone dot ends it (RFC 2920 3.1).
    SendLoneDot,
    /// Every recipient has its verdict, nothing more will come; the peer may need RSET before the next MAIL.
    Done { reset: bool },
    /// The reply speaks of the host or more: this connection is over, and who has no verdict returns.
    Abandon { judgement: Judgement, reply: Reply },
    /// The same behind the final dot: it was the answer to the message too.
    Leave { judgement: Judgement, reply: Reply },
}

/// The command that goes out next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Mail,
    Rcpt(usize),
    Data,
}

/// How many replies stand behind the final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    One,
    /// LMTP (RFC 2033 4.2).
    EachAccepted,
}

/// How the content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Behind DATA, with a final dot.
    BehindData,
    /// In one BDAT LAST (RFC 3030 2), which needs no leave: it is the content and its end.
    InAChunk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Open,
    Accepted,
    /// 452 too many recipients, or whatever follows one.
    TooMany(Reply),
    Decided(Verdict),
}

#[derive(Debug)]
pub struct Transaction {
    places: Vec<Place>,
    sent: usize,
    answered: usize,
    dot: Dot,
    last: Final,
    carried: Carried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    Unsent,
    /// A lone dot for nobody.
    Lone,
    Sent,
}

impl Transaction {
    pub fn new(recipients: usize, last: Final, carried: Carried) -> Self {
        Self { places: vec![Place::Open; recipients], sent: 0, answered: 0, dot: Dot::Unsent, last, carried }
    }

    pub fn carried(&self) -> Carried {
        self.carried
    }

    /// Takes the next command to send. Pipelined: until `None`; else after each reply that said [`Step::Wait`].
    pub fn next_line(&mut self) -> Option<Line> {
        let line = match self.sent {
            0 => Line::Mail,
            n if n <= self.places.len() => Line::Rcpt(n - 1),
            n if Some(n) == self.data_at() => Line::Data,
            _ => return None,
        };
        self.sent += 1;
        Some(line)
    }

    /// What the next reply answers.
    pub fn phase(&self) -> Phase {
        match self.answered {
            0 => Phase::Mail,
            n if n <= self.places.len() => Phase::Rcpt,
            n if Some(n) == self.data_at() => Phase::Data,
            _ => Phase::Dot,
        }
    }

    /// The dot goes out now, so from here on silence is [`Reason::Uncertain`].
    pub fn dot_sent(&mut self) {
        self.dot = if self.accepted() == 0 { Dot::Lone } else { Dot::Sent };
    }

    /// Takes the reply to the command that is next in order.
    pub fn answer(&mut self, reply: Reply) -> Step {
        let phase = self.phase();
        // A refusal in the middle of the body is the answer to it (the peer has read enough); anything else is not.
        if phase == Phase::Dot && self.dot == Dot::Unsent && reply.is_positive() {
            return out_of_step(reply);
        }
        let at = self.answered;
        self.answered += 1;
        if reply.is_positive() {
            return self.take_positive(phase, at, reply);
        }
        let judgement = judge(phase, &reply);
        let at_dot = phase == Phase::Dot && self.dot == Dot::Sent;
        if judgement.scope > Scope::Transaction && !at_dot {
            return Step::Abandon { judgement, reply };
        }
        self.take_negative(phase, at, judgement, reply)
    }

    /// The connection is over: what is undecided returns, or is uncertain when its dot has left us.
    pub fn broken(&mut self, dot_left: bool) {
        let uncertain = self.dot == Dot::Sent && dot_left;
        for place in &mut self.places {
            *place = match std::mem::replace(place, Place::Open) {
                Place::Accepted if uncertain => Place::Decided(Verdict::Settled {
                    judgement: verdict(Outcome::Deferred, Reason::Uncertain, rules::UNCERTAIN),
                    reply: None,
                    may_repeat: true,
                }),
                decided @ Place::Decided(_) => decided,
                Place::Open | Place::Accepted | Place::TooMany(_) => Place::Decided(Verdict::Returned),
            };
        }
    }

    /// The same verdict for everybody who has none.
    pub fn decide_rest(&mut self, judgement: Judgement, reply: Option<&Reply>) {
        for place in &mut self.places {
            if !matches!(place, Place::Decided(_)) {
                *place = settled(judgement, reply.cloned());
            }
        }
    }

    /// Verdicts in the order of the recipients, once none is open.
    pub fn verdicts(self) -> impl Iterator<Item = Verdict> {
        self.places.into_iter().map(|place| match place {
            Place::Decided(verdict) => verdict,
            Place::Open | Place::Accepted | Place::TooMany(_) => Verdict::Returned,
        })
    }

    /// The number of DATA among the commands, if there is one.
    fn data_at(&self) -> Option<usize> {
        (self.carried == Carried::BehindData).then_some(self.places.len() + 1)
    }

    /// How many recipients the peer took before it said "too many", if it said so.
    pub fn room(&self) -> Option<u32> {
        let returned = Place::Decided(Verdict::Returned);
        let too_many = self.places.iter().position(|place| *place == returned || matches!(place, Place::TooMany(_)));
        too_many.map(|at| at as u32).filter(|&at| at > 0)
    }

    /// At least one recipient waits for the content.
    pub fn has_accepted(&self) -> bool {
        self.accepted() > 0
    }

    fn accepted(&self) -> usize {
        self.places.iter().filter(|place| **place == Place::Accepted).count()
    }

    fn take_positive(&mut self, phase: Phase, at: usize, reply: Reply) -> Step {
        match (phase, reply.code / 100) {
            (Phase::Mail, 2) => Step::Wait,
            (Phase::Rcpt, 2) => {
                if self.places[at - 1] == Place::Open {
                    self.places[at - 1] = Place::Accepted;
                }
                self.after_rcpt()
            }
            (Phase::Data, 3) if self.accepted() > 0 => Step::SendBody,
            (Phase::Data, 3) => {
                self.close_rcpt();
                Step::SendLoneDot
            }
            (Phase::Dot, 2) => self.take_final(verdict(Outcome::Delivered, Reason::Done, 0), reply),
            _ => out_of_step(reply),
        }
    }

    fn take_negative(&mut self, phase: Phase, at: usize, judgement: Judgement, reply: Reply) -> Step {
        match phase {
            Phase::Rcpt => {
                let place = &mut self.places[at - 1];
                if *place == Place::Open {
                    let too_many = judgement.action == Action::ReturnRest;
                    *place = if too_many { Place::TooMany(reply) } else { settled(judgement, Some(reply)) };
                }
                self.after_rcpt()
            }
            Phase::Dot if judgement.scope > Scope::Transaction => {
                let _ = self.take_final(Judgement { scope: Scope::Transaction, ..judgement }, reply.clone());
                Step::Leave { judgement, reply }
            }
            Phase::Dot => self.take_final(judgement, reply),
            Phase::Data => {
                self.close_rcpt();
                self.decide_rest(judgement, Some(&reply));
                Step::Done { reset: true }
            }
            _ => {
                self.decide_rest(judgement, Some(&reply));
                self.if_nothing_is_sent()
            }
        }
    }

    /// Behind the last RCPT with nobody accepted, DATA need not be sent; sent already, its answer must be read.
    fn after_rcpt(&mut self) -> Step {
        let last = self.answered == self.places.len() + 1;
        match self.carried {
            _ if !last => Step::Wait,
            _ if self.accepted() == 0 => self.if_nothing_is_sent(),
            Carried::BehindData => Step::Wait,
            Carried::InAChunk => Step::SendBody,
        }
    }

    fn if_nothing_is_sent(&mut self) -> Step {
        if self.sent > self.answered {
            return Step::Wait;
        }
        self.close_rcpt();
        Step::Done { reset: true }
    }

    /// Recipients that were too many return, unless they were all: then this was an attempt, or it would go on for ever.
    fn close_rcpt(&mut self) {
        let some = self.accepted() > 0;
        for place in &mut self.places {
            if let Place::TooMany(reply) = place {
                let judgement = Judgement { action: Action::Continue, ..judge(Phase::Rcpt, reply) };
                *place = if some { Place::Decided(Verdict::Returned) } else { settled(judgement, Some(reply.clone())) };
            }
        }
    }

    /// One reply behind the dot: for all accepted, or for the next of them.
    fn take_final(&mut self, judgement: Judgement, reply: Reply) -> Step {
        self.close_rcpt();
        // RFC 3030 2 leaves open what a refused chunk leaves behind.
        let reset = self.carried == Carried::InAChunk && judgement.outcome != Outcome::Delivered;
        match self.last {
            Final::One => self.decide_rest(judgement, Some(&reply)),
            Final::EachAccepted => {
                if let Some(place) = self.places.iter_mut().find(|place| **place == Place::Accepted) {
                    *place = settled(judgement, Some(reply));
                }
            }
        }
        if self.accepted() > 0 { Step::Wait } else { Step::Done { reset } }
    }
}

/// A judgement of our own, of transaction scope.
pub fn verdict(outcome: Outcome, reason: Reason, rule: u16) -> Judgement {
    Judgement { outcome, scope: Scope::Transaction, action: Action::Continue, reason, rule }
}

/// A judgement of our own on the host.
pub fn host_failure(reason: Reason, rule: u16) -> Judgement {
    Judgement { outcome: Outcome::Deferred, scope: Scope::Host, action: Action::NextHost, reason, rule }
}

fn settled(judgement: Judgement, reply: Option<Reply>) -> Place {
    Place::Decided(Verdict::Settled { judgement, reply, may_repeat: false })
}

fn out_of_step(reply: Reply) -> Step {
    Step::Abandon { judgement: host_failure(Reason::Protocol, rules::OUT_OF_STEP), reply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays replies into a transaction; gives the last step and a letter for each verdict.
    fn play(recipients: usize, last: Final, pipelined: bool, script: &str) -> (String, String) {
        play_carried(Carried::BehindData, recipients, last, pipelined, script)
    }

    fn play_carried(
        carried: Carried,
        recipients: usize,
        last: Final,
        pipelined: bool,
        script: &str,
    ) -> (String, String) {
        let mut transaction = Transaction::new(recipients, last, carried);
        let mut step = Step::Wait;
        transaction.next_line();
        if pipelined {
            while transaction.next_line().is_some() {}
        }
        for word in script.split_whitespace() {
            if word == "-" {
                transaction.broken(true);
                break;
            }
            step = transaction.answer(reply(word));
            match step {
                Step::SendBody | Step::SendLoneDot => transaction.dot_sent(),
                Step::Wait if !pipelined => drop(transaction.next_line()),
                _ => {}
            }
        }
        let name = match step {
            Step::Wait => "wait",
            Step::SendBody => "body",
            Step::SendLoneDot => "lone",
            Step::Done { .. } => "done",
            Step::Abandon { .. } => "abandon",
            Step::Leave { .. } => "leave",
        };
        (name.into(), transaction.verdicts().map(|v| letter(&v)).collect())
    }

    fn reply(word: &str) -> Reply {
        match word {
            "452" => Reply::new(452, (4, 5, 3), "too many recipients"),
            code => Reply::plain(code.parse().unwrap(), "text"),
        }
    }

    fn letter(verdict: &Verdict) -> char {
        match verdict {
            Verdict::Returned => 'r',
            Verdict::Settled { may_repeat: true, .. } => 'u',
            Verdict::Settled { judgement, .. } => match judgement.outcome {
                Outcome::Delivered => 'D',
                Outcome::Deferred => 'd',
                Outcome::Failed => 'f',
            },
        }
    }

    #[test]
    fn plays() {
        use Final::{EachAccepted, One};
        let cases = [
            ("everything well", 2, One, "250 250 250 354 250", "done", "DD"),
            ("middle recipient refused", 3, One, "250 250 550 250 354 250", "done", "DfD"),
            ("nobody accepted, DATA refused", 2, One, "250 550 450 503", "done", "fd"),
            ("nobody accepted, DATA taken, lone dot refused", 1, One, "250 550 354 554", "done", "f"),
            ("nobody accepted, DATA taken, lone dot taken", 1, One, "250 550 354 250", "done", "f"),
            ("MAIL refused", 2, One, "550 503 503 503", "done", "ff"),
            ("MAIL deferred", 1, One, "451 503 503", "done", "d"),
            ("MAIL refused, the rest taken all the same", 1, One, "550 250 354 250", "done", "f"),
            ("DATA refused", 2, One, "250 250 550 451", "done", "df"),
            ("dot refused", 2, One, "250 250 550 354 554", "done", "ff"),
            ("dot deferred", 1, One, "250 250 354 451", "done", "d"),
            ("421 at the dot is an attempt", 1, One, "250 250 354 421", "leave", "d"),
            ("421 to MAIL", 2, One, "421", "abandon", "rr"),
            ("421 to the second RCPT", 3, One, "250 550 421 -", "abandon", "frr"),
            ("421 to DATA", 1, One, "250 250 421 -", "abandon", "r"),
            ("too many: the rest returns", 3, One, "250 250 452 452 354 250", "done", "Drr"),
            ("too many from the first on is an attempt", 2, One, "250 452 452 503", "done", "dd"),
            ("closed after MAIL", 2, One, "250 -", "wait", "rr"),
            ("closed after a refused recipient", 2, One, "250 550 -", "wait", "fr"),
            ("closed behind the dot", 2, One, "250 250 550 354 -", "body", "uf"),
            ("354 to MAIL", 1, One, "354 -", "abandon", "r"),
            ("250 to DATA", 1, One, "250 250 250 -", "abandon", "r"),
            ("354 to the dot", 1, One, "250 250 354 354 -", "abandon", "u"),
            ("LMTP", 3, EachAccepted, "250 250 550 250 354 250 451", "done", "Dfd"),
            ("LMTP, closed between", 2, EachAccepted, "250 250 250 354 250 -", "wait", "Du"),
        ];
        for (name, recipients, last, script, step, verdicts) in cases {
            assert_eq!(play(recipients, last, true, script), (step.into(), verdicts.into()), "{name}");
        }
    }

    #[test]
    fn step_by_step_stops_where_nothing_can_follow() {
        for (name, recipients, script, step, verdicts) in [
            ("everything well", 2, "250 250 250 354 250", "done", "DD"),
            ("MAIL refused", 2, "550", "done", "ff"),
            ("nobody accepted", 2, "250 550 450", "done", "fd"),
            ("DATA refused", 1, "250 250 451", "done", "d"),
            ("closed after RCPT", 1, "250 250 -", "wait", "r"),
        ] {
            assert_eq!(play(recipients, Final::One, false, script), (step.into(), verdicts.into()), "{name}");
        }
    }

    #[test]
    fn plays_chunks() {
        for (name, recipients, script, step, verdicts) in [
            ("everything well", 2, "250 250 250 250", "done", "DD"),
            ("middle recipient refused", 3, "250 250 550 250 250", "done", "DfD"),
            ("nobody accepted", 2, "250 550 450", "done", "fd"),
            ("MAIL refused", 2, "550 503 503", "done", "ff"),
            ("the chunk refused", 1, "250 250 554", "done", "f"),
            ("421 to the chunk is an attempt", 1, "250 250 421", "leave", "d"),
            ("closed behind the chunk", 1, "250 250 -", "body", "u"),
            ("closed behind the first RCPT", 2, "250 250 -", "wait", "rr"),
        ] {
            for pipelined in [false, true] {
                let got = play_carried(Carried::InAChunk, recipients, Final::One, pipelined, script);
                assert_eq!(got, (step.into(), verdicts.into()), "{name}");
            }
        }
    }

    proptest! {
        /// Whatever a peer says in whatever order: nobody is delivered without a positive answer behind the dot,
        /// nobody is uncertain without a dot, and when it is done everybody has a verdict of an attempt or returns.
        #[test]
        fn any_answers(
            recipients in 1usize..6,
            pipelined: bool,
            chunked: bool,
            lmtp: bool,
            codes in prop::collection::vec(prop::sample::select(&[220u16, 250, 354, 421, 450, 452, 550, 552, 554][..]), 0..16),
        ) {
            let last = if lmtp { Final::EachAccepted } else { Final::One };
            let carried = if chunked { Carried::InAChunk } else { Carried::BehindData };
            let mut transaction = Transaction::new(recipients, last, carried);
            transaction.next_line();
            if pipelined {
                while transaction.next_line().is_some() {}
            }
            let (mut dot, mut taken) = (false, false);
            for code in codes {
                let at_dot = transaction.phase() == Phase::Dot && dot;
                match transaction.answer(reply(&code.to_string())) {
                    Step::SendBody => {
                        transaction.dot_sent();
                        dot = true;
                    }
                    Step::SendLoneDot => transaction.dot_sent(),
                    Step::Wait => {
                        taken |= at_dot && code < 300;
                        if !pipelined {
                            transaction.next_line();
                        }
                    }
                    Step::Done { .. } => {
                        taken |= at_dot && code < 300;
                        break;
                    }
                    Step::Abandon { .. } | Step::Leave { .. } => break,
                }
            }
            transaction.broken(dot);
            let letters: String = transaction.verdicts().map(|verdict| letter(&verdict)).collect();
            prop_assert_eq!(letters.len(), recipients);
            prop_assert!(taken || !letters.contains('D'), "{}", letters);
            prop_assert!(dot || !letters.contains('u'), "{}", letters);
        }
    }

    #[test]
    fn speaks_in_order() {
        let mut transaction = Transaction::new(2, Final::One, Carried::BehindData);
        let lines: Vec<_> = std::iter::from_fn(|| transaction.next_line()).collect();
        assert_eq!(lines, [Line::Mail, Line::Rcpt(0), Line::Rcpt(1), Line::Data]);
        for phase in [Phase::Mail, Phase::Rcpt, Phase::Rcpt] {
            assert_eq!(transaction.phase(), phase);
            assert_eq!(transaction.answer(reply("250")), Step::Wait);
        }
        assert_eq!(transaction.phase(), Phase::Data);
    }
}
