//! What became of an attempt: three outcome words, the scope that a failure speaks of, and a reason class.
//!
//! A reply of a peer is judged by a table of rules ([`judge`]): the first row that matches gives outcome, scope,
//! action, reason and its own id. Only recipient and transaction scope settle entries; a wider scope puts that
//! object to sleep (queue-and-delivery: outcome, scope, action). The table may not know lanes, entries or times.

use serde::{Deserialize, Serialize};

use crate::envelope::{UnknownWord, as_number};
use crate::reply::{EnhancedCode, Reply};

/// The three outcome words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Outcome {
    Delivered = 0,
    Deferred = 1,
    Failed = 2,
}

/// What a failure speaks of, narrow to wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Scope {
    Recipient = 0,
    Transaction = 1,
    Sender = 2,
    Source = 3,
    Host = 4,
    Lane = 5,
    Provider = 6,
}

/// Why, in classes that retry tables and statistics use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Reason {
    #[default]
    Other = 0,
    /// Delivered, relayed or expanded.
    Done = 1,
    Greylist = 2,
    MailboxFull = 3,
    NoSuchRecipient = 4,
    Throttle = 5,
    Policy = 6,
    Content = 7,
    TooLarge = 8,
    Tls = 9,
    Dns = 10,
    Connect = 11,
    Timeout = 12,
    Protocol = 13,
    /// No reply behind the final dot: perhaps delivered.
    Uncertain = 14,
    /// The peer lacks 8BITMIME or SMTPUTF8 and the message needs it.
    Conversion = 15,
    Expired = 16,
    Cancelled = 17,
    Loop = 18,
    Lost = 19,
    LocalDisk = 20,
    Sender = 21,
    TooManyRecipients = 22,
    Suspended = 23,
    NoRoute = 24,
}

as_number!(Outcome, "outcome", [Delivered, Deferred, Failed]);
as_number!(Scope, "scope", [Recipient, Transaction, Sender, Source, Host, Lane, Provider]);
as_number!(
    Reason,
    "reason",
    [
        Other,
        Done,
        Greylist,
        MailboxFull,
        NoSuchRecipient,
        Throttle,
        Policy,
        Content,
        TooLarge,
        Tls,
        Dns,
        Connect,
        Timeout,
        Protocol,
        Uncertain,
        Conversion,
        Expired,
        Cancelled,
        Loop,
        Lost,
        LocalDisk,
        Sender,
        TooManyRecipients,
        Suspended,
        NoRoute
    ]
);

impl Reason {
    /// The word that people read in listings, metrics and the journal.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 25] = [
            "other",
            "done",
            "greylist",
            "mailbox-full",
            "no-such-recipient",
            "throttle",
            "policy",
            "content",
            "too-large",
            "tls",
            "dns",
            "connect",
            "timeout",
            "protocol",
            "uncertain",
            "conversion",
            "expired",
            "cancelled",
            "loop",
            "lost",
            "local-disk",
            "sender",
            "too-many-recipients",
            "suspended",
            "no-route",
        ];
        NAMES[self as usize]
    }
}

/// What a delivery does next on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The transaction or the connection goes on.
    Continue,
    /// This host is done with: try the next host of the plan, the envelope has lost nothing.
    NextHost,
    /// Close the connection after this; the envelope is settled.
    Close,
    /// The envelope's rest goes back with no attempt counted (452 too many recipients).
    ReturnRest,
}

/// Where in the dialogue a reply was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Connect,
    Greeting,
    Hello,
    Tls,
    Mail,
    Rcpt,
    /// The answer to DATA itself (354 expected).
    Data,
    /// The answer behind the final dot.
    Dot,
}

/// The verdict of the table on one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    pub outcome: Outcome,
    pub scope: Scope,
    pub action: Action,
    pub reason: Reason,
    /// The row's id, stable over versions; stands in the journal.
    pub rule: u16,
}

/// One row: the first that matches wins.
#[derive(Debug)]
struct Rule {
    id: u16,
    phases: &'static [Phase],
    codes: std::ops::RangeInclusive<u16>,
    /// (subject, detail) of the enhanced code; `None` matches any, also none.
    enhanced: Option<(u16, u16)>,
    /// Lower-case words, one of which the text must hold; empty matches any text.
    words: &'static [&'static str],
    verdict: (Outcome, Scope, Action, Reason),
}

const EARLY: &[Phase] = &[Phase::Connect, Phase::Greeting, Phase::Hello, Phase::Tls];
const MAIL: &[Phase] = &[Phase::Mail];
const RCPT: &[Phase] = &[Phase::Rcpt];
const BODY: &[Phase] = &[Phase::Data, Phase::Dot];
const TRANSACTION: &[Phase] = &[Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot];

macro_rules! rules {
    ($($id:literal $phases:ident $codes:expr, $enhanced:expr, $words:expr => $outcome:ident $scope:ident $action:ident $reason:ident;)+) => {
        &[$(Rule {
            id: $id, phases: $phases, codes: $codes, enhanced: $enhanced, words: $words,
            verdict: (Outcome::$outcome, Scope::$scope, Action::$action, Reason::$reason),
        }),+]
    };
}

/// Ids are stable: 1xx before the transaction, 2xx MAIL, 3xx RCPT, 4xx DATA and dot, 9xx what is left.
static RULES: &[Rule] = rules! {
    // RFC 5321 3.8: 421 may come at any point; before the dot it speaks of the host.
    101 EARLY 421..=421, None, &[] => Deferred Host NextHost Throttle;
    102 EARLY 400..=499, None, &["greylist", "grey-list", "graylist"] => Deferred Host NextHost Greylist;
    103 EARLY 400..=499, None, &[] => Deferred Host NextHost Connect;
    // A 5xx greeting is a host that takes no mail, not a refusal of this message (RFC 5321 5.1 as the field reads it).
    104 EARLY 500..=599, None, &[] => Deferred Host NextHost Policy;
    201 TRANSACTION 421..=421, None, &[] => Deferred Host NextHost Throttle;
    301 RCPT 452..=452, Some((5, 3)), &[] => Deferred Recipient ReturnRest TooManyRecipients;
    302 RCPT 452..=452, None, &["too many recipients"] => Deferred Recipient ReturnRest TooManyRecipients;
    303 RCPT 400..=499, None, &["greylist", "grey-list", "graylist"] => Deferred Recipient Continue Greylist;
    304 RCPT 400..=599, Some((2, 2)), &[] => Deferred Recipient Continue MailboxFull;
    305 RCPT 500..=599, Some((1, 1)), &[] => Failed Recipient Continue NoSuchRecipient;
    306 RCPT 500..=599, Some((1, 10)), &[] => Failed Recipient Continue NoSuchRecipient;
    307 RCPT 500..=599, None, &["user unknown", "no such user", "unknown user", "does not exist", "mailbox unavailable"] => Failed Recipient Continue NoSuchRecipient;
    308 RCPT 500..=599, Some((7, 1)), &[] => Failed Recipient Continue Policy;
    309 RCPT 400..=499, None, &["rate", "too many", "throttl", "too fast"] => Deferred Recipient Continue Throttle;
    310 RCPT 400..=499, None, &[] => Deferred Recipient Continue Other;
    311 RCPT 500..=599, None, &[] => Failed Recipient Continue Other;
    211 MAIL 552..=552, None, &[] => Failed Transaction Continue TooLarge;
    212 MAIL 400..=499, None, &["greylist", "grey-list", "graylist"] => Deferred Transaction Continue Greylist;
    213 MAIL 400..=499, None, &["rate", "too many", "throttl", "too fast"] => Deferred Transaction Continue Throttle;
    214 MAIL 400..=499, None, &[] => Deferred Transaction Continue Other;
    215 MAIL 500..=599, Some((7, 1)), &[] => Failed Transaction Continue Policy;
    216 MAIL 500..=599, Some((1, 8)), &[] => Failed Transaction Continue Sender;
    217 MAIL 500..=599, None, &[] => Failed Transaction Continue Other;
    401 BODY 552..=552, Some((2, 2)), &[] => Deferred Transaction Continue MailboxFull;
    402 BODY 552..=552, None, &[] => Failed Transaction Continue TooLarge;
    403 BODY 400..=499, None, &["greylist", "grey-list", "graylist"] => Deferred Transaction Continue Greylist;
    404 BODY 400..=499, None, &["rate", "too many", "throttl", "too fast"] => Deferred Transaction Continue Throttle;
    405 BODY 400..=499, None, &[] => Deferred Transaction Continue Other;
    406 BODY 500..=599, Some((4, 6)), &[] => Failed Transaction Continue Loop;
    407 BODY 500..=599, Some((6, 0)), &[] => Failed Transaction Continue Content;
    408 BODY 500..=599, None, &["spam", "virus", "content", "blocked"] => Failed Transaction Continue Content;
    409 BODY 500..=599, None, &[] => Failed Transaction Continue Policy;
};

/// What a reply means at this point of the dialogue.
#[must_use]
pub fn judge(phase: Phase, reply: &Reply) -> Judgement {
    let text = reply.text.to_ascii_lowercase();
    let row = RULES.iter().find(|rule| rule.matches(phase, reply.code, reply.enhanced, &text));
    match row {
        Some(rule) => {
            let (outcome, scope, action, reason) = rule.verdict;
            Judgement { outcome, scope, action, reason, rule: rule.id }
        }
        // A positive reply where it is expected.
        None if reply.is_positive() => Judgement {
            outcome: Outcome::Delivered,
            scope: Scope::Transaction,
            action: Action::Continue,
            reason: Reason::Done,
            rule: 0,
        },
        None => Judgement {
            outcome: Outcome::Deferred,
            scope: Scope::Host,
            action: Action::NextHost,
            reason: Reason::Protocol,
            rule: 900,
        },
    }
}

impl Rule {
    fn matches(&self, phase: Phase, code: u16, enhanced: Option<EnhancedCode>, text: &str) -> bool {
        self.phases.contains(&phase)
            && self.codes.contains(&code)
            && self.enhanced.is_none_or(|want| enhanced.is_some_and(|e| (e.1, e.2) == want))
            && (self.words.is_empty() || self.words.iter().any(|word| text.contains(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges() {
        let cases = [
            (Phase::Greeting, Reply::plain(554, "go away"), Outcome::Deferred, Scope::Host, 104),
            (Phase::Rcpt, Reply::new(550, (5, 1, 1), "no"), Outcome::Failed, Scope::Recipient, 305),
            (Phase::Rcpt, Reply::new(452, (4, 5, 3), "too many"), Outcome::Deferred, Scope::Recipient, 301),
            (Phase::Rcpt, Reply::plain(450, "Greylisted, come again"), Outcome::Deferred, Scope::Recipient, 303),
            (Phase::Dot, Reply::plain(421, "closing"), Outcome::Deferred, Scope::Host, 201),
            (Phase::Dot, Reply::plain(250, "ok"), Outcome::Delivered, Scope::Transaction, 0),
            (Phase::Mail, Reply::plain(552, "big"), Outcome::Failed, Scope::Transaction, 211),
        ];
        for (phase, reply, outcome, scope, rule) in cases {
            let got = judge(phase, &reply);
            assert_eq!((got.outcome, got.scope, got.rule), (outcome, scope, rule), "{phase:?} {reply}");
        }
    }

    #[test]
    fn every_negative_reply_has_a_row_and_ids_are_unique() {
        for phase in [Phase::Connect, Phase::Greeting, Phase::Hello, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot]
        {
            for code in 400..600 {
                let got = judge(phase, &Reply::plain(code, ""));
                assert_ne!(got.outcome, Outcome::Delivered, "{phase:?} {code}");
                assert_ne!(got.rule, 900, "{phase:?} {code}");
            }
        }
        let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
    }
}
