//! What an address is by every rule: fine, or which rule it bends or breaks (RFC 5321, RFC 5322, obsolete forms too).
//!
//! Classes and names are those that Dominic Sayers gave to address validation, since tools compare by them; the worst
//! finding counts. One pass, byte by byte; whether the domain has records in DNS comes in as a fact.

/// What DNS says of the domain, looked up by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    Unknown,
    /// It has MX or address records that mail can use.
    Found,
    /// It has no MX, but an address.
    NoMx,
    None,
}

macro_rules! diagnoses {
    ($($name:ident = $number:literal $text:literal),* $(,)?) => {
        /// A finding, from harmless to broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Diagnosis { $($name = $number),* }

        impl Diagnosis {
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

diagnoses! {
    Valid = 0 "VALID",
    NoMxRecord = 5 "DNSWARN_NO_MX_RECORD",
    NoRecord = 6 "DNSWARN_NO_RECORD",
    Tld = 9 "RFC5321_TLD",
    TldNumeric = 10 "RFC5321_TLDNUMERIC",
    QuotedString = 11 "RFC5321_QUOTEDSTRING",
    AddressLiteral = 12 "RFC5321_ADDRESSLITERAL",
    Ipv6Deprecated = 13 "RFC5321_IPV6DEPRECATED",
    Comment = 17 "CFWS_COMMENT",
    Fold = 18 "CFWS_FWS",
    ObsoleteLocal = 33 "DEPREC_LOCALPART",
    ObsoleteFold = 34 "DEPREC_FWS",
    ObsoleteQuoted = 35 "DEPREC_QTEXT",
    ObsoletePair = 36 "DEPREC_QP",
    ObsoleteComment = 37 "DEPREC_COMMENT",
    ObsoleteCommentText = 38 "DEPREC_CTEXT",
    BlankNearAt = 49 "DEPREC_CFWS_NEAR_AT",
    Domain = 65 "RFC5322_DOMAIN",
    TooLong = 66 "RFC5322_TOOLONG",
    LocalTooLong = 67 "RFC5322_LOCAL_TOOLONG",
    DomainTooLong = 68 "RFC5322_DOMAIN_TOOLONG",
    LabelTooLong = 69 "RFC5322_LABEL_TOOLONG",
    DomainLiteral = 70 "RFC5322_DOMAINLITERAL",
    ObsoleteLiteral = 71 "RFC5322_DOMLIT_OBSDTEXT",
    Ipv6GroupCount = 72 "RFC5322_IPV6_GRPCOUNT",
    Ipv6TwoGaps = 73 "RFC5322_IPV6_2X2XCOLON",
    Ipv6Character = 74 "RFC5322_IPV6_BADCHAR",
    Ipv6TooManyGroups = 75 "RFC5322_IPV6_MAXGRPS",
    Ipv6ColonStart = 76 "RFC5322_IPV6_COLONSTRT",
    Ipv6ColonEnd = 77 "RFC5322_IPV6_COLONEND",
    ExpectingLiteralText = 129 "ERR_EXPECTING_DTEXT",
    NoLocal = 130 "ERR_NOLOCALPART",
    NoDomain = 131 "ERR_NODOMAIN",
    ConsecutiveDots = 132 "ERR_CONSECUTIVEDOTS",
    TextAfterBlank = 133 "ERR_ATEXT_AFTER_CFWS",
    TextAfterQuoted = 134 "ERR_ATEXT_AFTER_QS",
    TextAfterLiteral = 135 "ERR_ATEXT_AFTER_DOMLIT",
    ExpectingPair = 136 "ERR_EXPECTING_QPAIR",
    ExpectingText = 137 "ERR_EXPECTING_ATEXT",
    ExpectingQuotedText = 138 "ERR_EXPECTING_QTEXT",
    ExpectingCommentText = 139 "ERR_EXPECTING_CTEXT",
    BackslashEnd = 140 "ERR_BACKSLASHEND",
    DotStart = 141 "ERR_DOT_START",
    DotEnd = 142 "ERR_DOT_END",
    HyphenStart = 143 "ERR_DOMAINHYPHENSTART",
    HyphenEnd = 144 "ERR_DOMAINHYPHENEND",
    UnclosedQuoted = 145 "ERR_UNCLOSEDQUOTEDSTR",
    UnclosedComment = 146 "ERR_UNCLOSEDCOMMENT",
    UnclosedLiteral = 147 "ERR_UNCLOSEDDOMLIT",
    TwoLineEnds = 148 "ERR_FWS_CRLF_X2",
    EndsInFold = 149 "ERR_FWS_CRLF_END",
    LoneCr = 150 "ERR_CR_NO_LF",
}

/// The class of a finding: the worst rule that it bends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Valid,
    /// Fine, but DNS does not know where to send.
    Dns,
    /// Fine in SMTP, unusual.
    Unusual,
    /// Fine in a header field, with comments or folds; not in SMTP.
    Folded,
    /// Only by obsolete rules.
    Obsolete,
    /// By the letter of RFC 5322 only; no mail can go there.
    LetterOnly,
    Broken,
}

impl Diagnosis {
    pub fn class(self) -> Class {
        match self as u8 {
            0 => Class::Valid,
            1..=7 => Class::Dns,
            8..=15 => Class::Unusual,
            16..=31 => Class::Folded,
            32..=63 => Class::Obsolete,
            64..=127 => Class::LetterOnly,
            _ => Class::Broken,
        }
    }
}

impl Class {
    pub fn name(self) -> &'static str {
        ["valid", "dns", "unusual", "folded", "obsolete", "letter-only", "broken"][self as usize]
    }
}

/// The worst finding, and the byte at which it was made.
#[must_use]
pub fn diagnose(address: &[u8], records: Records) -> (Diagnosis, usize) {
    let mut reader = Reader::new(address);
    reader.run();
    reader.judge_end();
    reader.judge_records(records);
    (reader.worst, reader.worst_at)
}

/// Where in the grammar the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Domain,
    Literal,
    Comment,
    Fold,
    Quoted,
    Pair,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    place: Place,
    /// Where the reader was before, and what it comes back to.
    prior: Place,
    stack: Vec<Place>,
    local: usize,
    domain: usize,
    /// Where the label under way begins in the text.
    label_from: usize,
    literal: Vec<u8>,
    /// Words or labels before the one under way, and the length of that one.
    elements: usize,
    element: usize,
    hyphen: bool,
    /// Nothing but a dot, an at or the end may follow.
    must_end: bool,
    /// The last byte of a fold was a line end; how many line ends there were.
    after_line_end: bool,
    line_ends: usize,
    worst: Diagnosis,
    worst_at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            place: Place::Local,
            prior: Place::Local,
            stack: Vec::new(),
            local: 0,
            domain: 0,
            label_from: 0,
            literal: Vec::new(),
            elements: 0,
            element: 0,
            hyphen: false,
            must_end: false,
            after_line_end: false,
            line_ends: 0,
            worst: Diagnosis::Valid,
            worst_at: 0,
        }
    }

    fn run(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            match self.place {
                Place::Local => self.in_local(byte),
                Place::Domain => self.in_domain(byte),
                Place::Literal => self.in_literal(byte),
                Place::Quoted => self.in_quoted(byte),
                Place::Pair => self.in_pair(byte),
                Place::Comment => self.in_comment(byte),
                Place::Fold => self.in_fold(byte),
            }
            if self.worst.class() == Class::Broken {
                return;
            }
            self.at += 1;
        }
    }

    fn find(&mut self, diagnosis: Diagnosis) {
        if diagnosis > self.worst {
            (self.worst, self.worst_at) = (diagnosis, self.at.min(self.text.len()));
        }
    }

    /// One finding for the first element, another for a later one.
    fn find_by_element(&mut self, first: Diagnosis, later: Diagnosis) {
        self.find(if self.elements == 0 { first } else { later });
    }

    fn push(&mut self, place: Place) {
        self.stack.push(self.place);
        self.place = place;
    }

    fn pop(&mut self) {
        self.prior = self.place;
        self.place = self.stack.pop().unwrap_or(Place::Local);
    }

    /// A blank or CR begins a fold; a CR takes its LF with it.
    fn begin_fold(&mut self, byte: u8) {
        self.push(Place::Fold);
        self.line_ends = 0;
        self.after_line_end = byte == b'\r';
        if self.after_line_end {
            self.take_lf();
        }
    }

    fn take_lf(&mut self) {
        self.at += 1;
        if self.text.get(self.at) != Some(&b'\n') {
            self.find(Diagnosis::LoneCr);
        }
    }

    fn in_local(&mut self, byte: u8) {
        match byte {
            b'(' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::Comment, Diagnosis::ObsoleteComment);
                } else {
                    self.find(Diagnosis::Comment);
                    self.must_end = true;
                }
                self.push(Place::Comment);
            }
            b'.' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::DotStart, Diagnosis::ConsecutiveDots);
                } else if self.must_end {
                    self.find(Diagnosis::ObsoleteLocal);
                }
                self.next_element();
                self.local += 1;
            }
            b'"' if self.element == 0 => {
                self.find_by_element(Diagnosis::QuotedString, Diagnosis::ObsoleteLocal);
                self.grow(1);
                self.must_end = true;
                self.push(Place::Quoted);
            }
            b'"' => self.find(Diagnosis::ExpectingText),
            b'\r' | b' ' | b'\t' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::Fold, Diagnosis::ObsoleteFold);
                } else {
                    self.must_end = true;
                }
                self.begin_fold(byte);
            }
            b'@' => self.at_sign(),
            _ if self.must_end => self.find(match self.prior {
                Place::Quoted => Diagnosis::TextAfterQuoted,
                _ => Diagnosis::TextAfterBlank,
            }),
            _ => {
                self.prior = self.place;
                if !is_text(byte) {
                    self.find(Diagnosis::ExpectingText);
                }
                self.grow(1);
            }
        }
    }

    fn at_sign(&mut self) {
        if self.local == 0 {
            self.find(Diagnosis::NoLocal);
        } else if self.element == 0 {
            self.find(Diagnosis::DotEnd);
        } else if self.local > 64 {
            self.find(Diagnosis::LocalTooLong);
        } else if matches!(self.prior, Place::Comment | Place::Fold) {
            self.find(Diagnosis::BlankNearAt);
        }
        self.place = Place::Domain;
        self.stack.clear();
        self.next_element();
        self.elements = 0;
    }

    fn next_element(&mut self) {
        self.elements += 1;
        self.element = 0;
        self.must_end = false;
        self.label_from = self.at + 1;
    }

    fn grow(&mut self, bytes: usize) {
        self.element += bytes;
        let in_domain = self.place == Place::Domain || self.place == Place::Literal;
        *(if in_domain { &mut self.domain } else { &mut self.local }) += bytes;
    }

    fn in_domain(&mut self, byte: u8) {
        match byte {
            b'(' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::BlankNearAt, Diagnosis::ObsoleteComment);
                } else {
                    self.find(Diagnosis::Comment);
                    self.must_end = true;
                }
                self.push(Place::Comment);
            }
            b'.' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::DotStart, Diagnosis::ConsecutiveDots);
                } else if self.hyphen {
                    self.find(Diagnosis::HyphenEnd);
                } else if self.element > 63 {
                    self.find(Diagnosis::LabelTooLong);
                }
                self.next_element();
                self.domain += 1;
            }
            b'[' if self.domain == 0 => {
                self.grow(1);
                self.must_end = true;
                self.push(Place::Literal);
            }
            b'[' => self.find(Diagnosis::ExpectingText),
            b'\r' | b' ' | b'\t' => {
                if self.element == 0 {
                    self.find_by_element(Diagnosis::BlankNearAt, Diagnosis::ObsoleteFold);
                } else {
                    self.find(Diagnosis::Fold);
                    self.must_end = true;
                }
                self.begin_fold(byte);
            }
            _ => self.in_label(byte),
        }
    }

    fn in_label(&mut self, byte: u8) {
        if self.must_end {
            self.find(match self.prior {
                Place::Literal => Diagnosis::TextAfterLiteral,
                _ => Diagnosis::TextAfterBlank,
            });
        }
        self.hyphen = byte == b'-';
        if !is_text(byte) {
            self.find(Diagnosis::ExpectingText);
        } else if self.hyphen && self.element == 0 {
            self.find(Diagnosis::HyphenStart);
        } else if !self.hyphen && !byte.is_ascii_alphanumeric() {
            self.find(Diagnosis::Domain);
        }
        self.grow(1);
    }

    fn in_literal(&mut self, byte: u8) {
        match byte {
            b']' => {
                let found = if self.worst.class() <= Class::Obsolete {
                    literal(&self.literal)
                } else {
                    vec![Diagnosis::DomainLiteral]
                };
                for diagnosis in found {
                    self.find(diagnosis);
                }
                self.grow(1);
                self.pop();
            }
            b'\\' => {
                self.find(Diagnosis::ObsoleteLiteral);
                self.push(Place::Pair);
            }
            b'\r' | b' ' | b'\t' => {
                self.find(Diagnosis::Fold);
                self.begin_fold(byte);
            }
            b'[' | 0 | 128.. => self.find(Diagnosis::ExpectingLiteralText),
            _ => {
                if byte < 33 || byte == 127 {
                    self.find(Diagnosis::ObsoleteLiteral);
                }
                self.literal.push(byte);
                self.grow(1);
            }
        }
    }

    fn in_quoted(&mut self, byte: u8) {
        match byte {
            b'\\' => self.push(Place::Pair),
            b'\r' | b'\t' => {
                self.grow(1);
                self.find(Diagnosis::Fold);
                self.begin_fold(byte);
            }
            b'"' => {
                self.grow(1);
                self.pop();
            }
            0 | b'\n' | 128.. => self.find(Diagnosis::ExpectingQuotedText),
            _ => {
                if byte < 32 || byte == 127 {
                    self.find(Diagnosis::ObsoleteQuoted);
                }
                self.grow(1);
            }
        }
    }

    fn in_pair(&mut self, byte: u8) {
        if byte > 127 {
            self.find(Diagnosis::ExpectingPair);
        } else if (byte < 31 && byte != b'\t') || byte == 127 {
            self.find(Diagnosis::ObsoletePair);
        }
        self.pop();
        if self.place == Place::Literal {
            self.literal.extend([b'\\', byte]);
        }
        if self.place != Place::Comment {
            self.grow(2);
        }
    }

    fn in_comment(&mut self, byte: u8) {
        match byte {
            b'(' => self.push(Place::Comment),
            b')' => self.pop(),
            b'\\' => self.push(Place::Pair),
            b'\r' | b' ' | b'\t' => {
                self.find(Diagnosis::Fold);
                self.begin_fold(byte);
            }
            0 | b'\n' | 128.. => self.find(Diagnosis::ExpectingCommentText),
            _ if byte < 32 || byte == 127 => self.find(Diagnosis::ObsoleteCommentText),
            _ => {}
        }
    }

    fn in_fold(&mut self, byte: u8) {
        if self.after_line_end {
            if byte == b'\r' {
                self.find(Diagnosis::TwoLineEnds);
                return;
            }
            self.line_ends += 1;
            if self.line_ends > 1 {
                self.find(Diagnosis::ObsoleteFold);
            }
        }
        match byte {
            b'\r' => self.take_lf(),
            b' ' | b'\t' => {}
            _ => {
                if self.after_line_end {
                    self.find(Diagnosis::EndsInFold);
                }
                self.pop();
                // The byte belongs to the place the reader came back to; `run` steps forward again.
                self.at = self.at.wrapping_sub(1);
            }
        }
        self.after_line_end = byte == b'\r';
    }

    fn judge_end(&mut self) {
        if self.worst.class() == Class::Broken {
            return;
        }
        let diagnosis = match self.place {
            Place::Quoted => Diagnosis::UnclosedQuoted,
            Place::Pair => Diagnosis::BackslashEnd,
            Place::Comment => Diagnosis::UnclosedComment,
            Place::Literal => Diagnosis::UnclosedLiteral,
            Place::Fold if self.after_line_end => Diagnosis::EndsInFold,
            _ if self.domain == 0 => Diagnosis::NoDomain,
            _ if self.element == 0 => Diagnosis::DotEnd,
            _ if self.hyphen => Diagnosis::HyphenEnd,
            _ if self.domain > 255 => Diagnosis::DomainTooLong,
            _ if self.local + 1 + self.domain > 254 => Diagnosis::TooLong,
            _ if self.element > 63 => Diagnosis::LabelTooLong,
            _ => return,
        };
        self.find(diagnosis);
    }

    /// RFC 5321 2.3.5 wants names that DNS knows; a name of one label, or with a numeric last one, hardly is.
    fn judge_records(&mut self, records: Records) {
        if self.worst > Diagnosis::Valid {
            return;
        }
        match records {
            Records::Found => return,
            Records::NoMx => return self.find(Diagnosis::NoMxRecord),
            Records::None => self.find(Diagnosis::NoRecord),
            Records::Unknown => {}
        }
        if self.elements == 0 {
            self.find(Diagnosis::Tld);
        }
        if self.text.get(self.label_from).is_some_and(u8::is_ascii_digit) {
            self.find(Diagnosis::TldNumeric);
        }
    }
}

/// RFC 5322 3.2.3: a character of a dot-atom, the dot left out.
fn is_text(byte: u8) -> bool {
    matches!(byte, 33..=126) && !b"()<>[]:;@\\,.\"".contains(&byte)
}

/// What an address literal is (RFC 5321 4.1.3).
fn literal(text: &[u8]) -> Vec<Diagnosis> {
    let text = String::from_utf8_lossy(text).into_owned();
    let ipv4 = ipv4_at_end(&text);
    if ipv4 == Some(0) {
        return vec![Diagnosis::AddressLiteral];
    }
    if !text.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:")) {
        return vec![Diagnosis::DomainLiteral];
    }
    // An IPv4 address at the end stands for two groups.
    let text = ipv4.map_or(text.clone(), |at| format!("{}0:0", &text[..at]));
    ipv6(&text[5..])
}

fn ipv6(text: &str) -> Vec<Diagnosis> {
    let groups: Vec<&str> = text.split(':').collect();
    let mut found = Vec::new();
    let mut most = 8;
    match text.find("::") {
        None if groups.len() != most => found.push(Diagnosis::Ipv6GroupCount),
        None => {}
        Some(gap) if text.rfind("::") != Some(gap) => found.push(Diagnosis::Ipv6TwoGaps),
        Some(gap) => {
            // A gap at an edge makes one empty group more.
            most += usize::from(gap == 0 || gap + 2 == text.len());
            if groups.len() > most {
                found.push(Diagnosis::Ipv6TooManyGroups);
            } else if groups.len() == most {
                found.push(Diagnosis::Ipv6Deprecated);
            }
        }
    }
    let group = |group: &&str| group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    found.push(if text.starts_with(':') && !text.starts_with("::") {
        Diagnosis::Ipv6ColonStart
    } else if text.ends_with(':') && !text.ends_with("::") {
        Diagnosis::Ipv6ColonEnd
    } else if !groups.iter().all(group) {
        Diagnosis::Ipv6Character
    } else {
        Diagnosis::AddressLiteral
    });
    found
}

/// Where an IPv4 address begins that goes to the end of the text, at a word's edge.
fn ipv4_at_end(text: &str) -> Option<usize> {
    let from = text.rfind(|c: char| !c.is_ascii_digit() && c != '.').map_or(0, |at| at + 1);
    let edge =
        text.as_bytes().get(from.wrapping_sub(1)).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let octet = |octet: &str| (1..=3).contains(&octet.len()) && octet.parse::<u8>().is_ok();
    (edge && text.is_char_boundary(from) && text[from..].split('.').count() == 4 && text[from..].split('.').all(octet))
        .then_some(from)
}
