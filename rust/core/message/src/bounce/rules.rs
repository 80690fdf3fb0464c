//! The tables by which a bounce is judged. They may not know the message, only its words, status and reply.
//!
//! Each row: an id, the reason it gives, and texts of which one must stand in the diagnostic (in lower case, blanks
//! single; `*` between two texts: one behind the other). The first row wins, so narrow rows stand above wide ones.

use serde::Serialize;

use super::Gathered;

macro_rules! reasons {
    ($($name:ident $text:literal $own:literal $hard:literal),* $(,)?) => {
        /// Why a mail came back.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($name),* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Self::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The last number of the status `5.0.9nn` that stands where nobody gave one.
            fn own_number(self) -> u16 {
                match self { $(Self::$name => $own),* }
            }

            /// The address is of no use any more.
            pub fn is_hard(self) -> bool {
                match self { $(Self::$name => $hard),* }
            }
        }
    };
}

reasons! {
    AuthFailure "authfailure" 975 false,
    BadReputation "badreputation" 976 false,
    Blocked "blocked" 971 false,
    ContentError "contenterror" 960 false,
    Delivered "delivered" 0 false,
    ExceedLimit "exceedlimit" 923 false,
    Expired "expired" 947 false,
    Feedback "feedback" 0 false,
    Filtered "filtered" 910 false,
    HasMoved "hasmoved" 916 true,
    HostUnknown "hostunknown" 912 true,
    MailboxFull "mailboxfull" 922 false,
    MailerError "mailererror" 939 false,
    MessageTooBig "mesgtoobig" 934 false,
    NetworkError "networkerror" 944 false,
    NoRelaying "norelaying" 909 false,
    NotAccept "notaccept" 932 true,
    NotCompliant "notcompliantrfc" 974 false,
    OnHold "onhold" 901 false,
    PolicyViolation "policyviolation" 970 false,
    Rejected "rejected" 918 false,
    RequirePtr "requireptr" 973 false,
    SecurityError "securityerror" 972 false,
    SpamDetected "spamdetected" 980 false,
    Suspended "suspend" 921 false,
    SyntaxError "syntaxerror" 950 false,
    SystemError "systemerror" 930 false,
    TooManyConnections "toomanyconn" 945 false,
    Undefined "undefined" 900 false,
    UserUnknown "userunknown" 911 true,
    Vacation "vacation" 0 false,
    VirusDetected "virusdetected" 981 false,
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// One row.
struct Rule {
    id: &'static str,
    reason: Reason,
    texts: &'static [&'static str],
}

const fn rule(id: &'static str, reason: Reason, texts: &'static [&'static str]) -> Rule {
    Rule { id, reason, texts }
}

include!("words.rs");

/// The reason, and the id of the row that gave it.
pub(super) fn reason(one: &Gathered, status: &str, reply: &str, notice: &str) -> (Reason, &'static str) {
    if matches!(&*one.action, "delivered" | "relayed" | "expanded") || status.starts_with("2.") {
        return (Reason::Delivered, "action-delivered");
    }
    let behind = status.get(2..).unwrap_or_default();
    let known = |table: &[(&str, Reason)]| {
        table.iter().find(|(known, _)| *known == behind).map(|(_, reason)| (*reason, "status"))
    };
    let bare = is_bare(&one.diagnostic);
    let found = known(FIRST)
        .or_else(|| by_words(&one.diagnostic))
        .or_else(|| known(STATUSES))
        .or_else(|| first(WIDE, &one.diagnostic))
        .or_else(|| bare.then(|| by_words(notice)).flatten());
    if let Some(found) = found {
        return found;
    }
    if one.action == "delayed" {
        return (Reason::Expired, "action-delayed");
    }
    match reply {
        "550" | "551" | "553" if status.is_empty() => (Reason::OnHold, "reply"),
        _ if !status.is_empty() || !reply.is_empty() => (Reason::OnHold, "nothing-known"),
        _ => (Reason::Undefined, "nothing-said"),
    }
}

/// The first row whose words stand in the text.
pub(super) fn by_words(text: &str) -> Option<(Reason, &'static str)> {
    first(RULES, text)
}

fn first(rules: &[Rule], text: &str) -> Option<(Reason, &'static str)> {
    let low = text.to_lowercase();
    let single = low.split_whitespace().collect::<Vec<_>>().join(" ");
    rules.iter().find(|rule| rule.texts.iter().any(|text| stands(&single, text))).map(|rule| (rule.reason, rule.id))
}

fn stands(text: &str, wanted: &str) -> bool {
    let mut rest = text;
    wanted.split('*').all(|piece| {
        let found = rest.find(piece);
        rest = found.map_or("", |at| &rest[at + piece.len()..]);
        found.is_some()
    })
}

/// An automatic answer of a person who is away.
pub(super) fn is_vacation(subject: &str, notice: &str) -> bool {
    let low = notice.to_lowercase();
    VACATION_SUBJECTS.iter().any(|text| subject.contains(text)) || VACATION_TEXTS.iter().any(|text| low.contains(text))
}

/// A complaint that is no feedback report.
pub(super) fn is_complaint(subject: &str) -> bool {
    subject.starts_with("complaint about message from")
}

/// Says no more than a number or nothing.
pub(super) fn is_bare(diagnostic: &str) -> bool {
    diagnostic.split_whitespace().all(|word| word.bytes().all(|byte| byte.is_ascii_digit() || b".-#".contains(&byte)))
}

/// `5.1.1` and the like.
pub(super) fn is_status(text: &str) -> bool {
    let mut numbers = text.split('.');
    let class = numbers.next().is_some_and(|class| matches!(class, "2" | "4" | "5"));
    let small = |number: Option<&str>| {
        number.is_some_and(|text| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    class && small(numbers.next()) && small(numbers.next()) && numbers.next().is_none()
}

/// It says the class only (RFC 3463 3.1: other undefined status).
pub(super) fn is_vague(status: &str) -> bool {
    status.ends_with(".0.0")
}

/// The enhanced status in a text: the one right behind a reply code, else the first that says more than its class.
pub(super) fn status_of(text: &str) -> (String, bool) {
    let words: Vec<&str> = tokens(text).map(|word| word.trim_start_matches('#')).collect();
    let behind = words.windows(2).find(|pair| is_reply(pair[0]) && is_status(pair[1]) && !is_vague(pair[1]));
    let all = || words.iter().filter(|word| is_status(word));
    let found =
        behind.map(|pair| pair[1]).or_else(|| all().find(|word| !is_vague(word)).or_else(|| all().next()).copied());
    // `550-5.7.1`: code and status in one word.
    let joined = words.iter().find_map(|word| word.get(4..).filter(|status| is_status(status) && is_reply(&word[..3])));
    (joined.filter(|_| behind.is_none()).or(found).unwrap_or_default().to_owned(), behind.is_some() || joined.is_some())
}

fn is_reply(word: &str) -> bool {
    let digits = word.trim_end_matches('-');
    digits.len() == 3 && !reply_of(digits).is_empty()
}

/// The first reply code in a text: three digits that stand alone, from 400 on, or 250.
pub(super) fn reply_of(text: &str) -> String {
    let code = |word: &str| {
        let digits = word.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let ends = word.as_bytes().get(3).is_none_or(|byte| matches!(byte, b'-' | b'#'));
        let number: u16 = digits.parse().ok()?;
        let known = matches!(number, 250 | 421 | 422 | 430..=432 | 441..=459 | 470..=472 | 500..=560 | 571..=577);
        (ends && known).then(|| digits.to_owned())
    };
    tokens(text).find_map(code).unwrap_or_default()
}

/// Words without brackets and punctuation around them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let splits = |c: char| {
        c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '<' | '>' | ',' | ';' | ':' | '"' | '\'' | '/' | '=')
    };
    text.split(splits).map(|word| word.trim_matches(['.', '-', '_'])).filter(|word| !word.is_empty())
}

/// A status of our own: class 4 where the other side or the report says so, the reason's number.
pub(super) fn own_status(reason: Reason, reply: &str, action: &str, diagnostic: &str) -> String {
    let number = reason.own_number();
    if number == 0 {
        return String::new();
    }
    let low = diagnostic.to_lowercase();
    let retried = SOFT_TEXTS.iter().any(|text| low.contains(text));
    let soft = reply.starts_with('4') || action == "delayed" || retried;
    format!("{}.0.{number}", if soft { 4 } else { 5 })
}
