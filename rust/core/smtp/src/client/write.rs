//! Commands to octets. Whatever the arguments hold, one command is one line: what would break it is an error before
//! anything of it was written. A parameter that the peer does not offer is never sent.

use angarium_nouns::{Address, BodyType, DsnNotify, DsnReturn};

use super::commands::{Command, CommandKind, MailParameters, RcptParameters};
use super::{Client, ClientError};
use crate::command::{ByMode, DeliverBy, Hold};
use crate::instant;
use crate::settings::Extensions;
use crate::stuffing::Lines;
use crate::xtext;

type Written = Result<CommandKind, ClientError>;

impl Client {
    pub(super) fn write(&mut self, command: Command<'_>) -> Written {
        use CommandKind as Kind;
        match command {
            Command::Ehlo(name) => self.line("EHLO ", name, Kind::Ehlo),
            Command::Helo(name) => self.line("HELO ", name, Kind::Helo),
            Command::Lhlo(name) => self.line("LHLO ", name, Kind::Lhlo),
            Command::Mail(sender, parameters) => self.mail(sender, &parameters),
            Command::Rcpt(recipient, parameters) => self.rcpt(recipient, parameters),
            Command::Data if self.binary => Err(ClientError::BinaryNeedsChunks),
            Command::Data => self.line("DATA", "", Kind::Data),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => self.line("RSET", "", Kind::Rset),
            Command::Noop => self.line("NOOP", "", Kind::Noop),
            Command::Vrfy(text) => self.line("VRFY ", text, Kind::Vrfy),
            Command::Expn(text) => self.line("EXPN ", text, Kind::Expn),
            Command::StartTls => {
                self.offers(Extensions::STARTTLS, "STARTTLS")?;
                self.line("STARTTLS", "", Kind::StartTls)
            }
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::AuthResponse(response) => {
                let text = base64_simd::STANDARD.encode_to_string(response);
                self.line("", &text, Kind::Auth)
            }
            Command::AuthCancel => self.line("*", "", Kind::Auth),
            Command::Etrn(node) => {
                self.offers(Extensions::ETRN, "ETRN")?;
                self.line("ETRN ", node, Kind::Etrn)
            }
            Command::Xclient(attributes) => self.proxied("XCLIENT", Extensions::XCLIENT, attributes, Kind::Xclient),
            Command::Xforward(attributes) => self.proxied("XFORWARD", Extensions::XFORWARD, attributes, Kind::Xforward),
            Command::Quit => self.line("QUIT", "", Kind::Quit),
        }
    }

    fn line(&mut self, verb: &str, argument: &str, kind: CommandKind) -> Written {
        if argument.bytes().any(|b| b.is_ascii_control()) {
            return Err(ClientError::Argument);
        }
        self.push(&[verb, argument, "\r\n"]);
        Ok(kind)
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.output.extend_from_slice(part.as_bytes());
        }
    }

    fn offers(&self, extension: Extensions, name: &'static str) -> Result<(), ClientError> {
        if self.capabilities.has(extension) { Ok(()) } else { Err(ClientError::NotOffered(name)) }
    }

    fn mail(&mut self, sender: &str, parameters: &MailParameters<'_>) -> Written {
        if !sender.is_empty() {
            check_path(sender, parameters.smtputf8)?;
        }
        self.check_mail(parameters)?;
        (self.smtputf8, self.binary) = (parameters.smtputf8, parameters.body == BodyType::BinaryMime);
        self.lines = Lines::default();
        self.push(&["MAIL FROM:<", sender, ">"]);
        if parameters == &MailParameters::default() {
            self.push(&["\r\n"]);
            return Ok(CommandKind::Mail);
        }
        for (keyword, value) in self.mail_words(parameters) {
            self.push(&[" ", keyword]);
            if let Some(value) = value {
                self.push(&["=", &value]);
            }
        }
        self.push(&["\r\n"]);
        Ok(CommandKind::Mail)
    }

    /// What must be offered, is.
    fn check_mail(&self, parameters: &MailParameters<'_>) -> Result<(), ClientError> {
        #[rustfmt::skip]
        let demands = [
            (parameters.body == BodyType::EightBitMime, Extensions::EIGHT_BIT_MIME, "8BITMIME"),
            (parameters.body == BodyType::BinaryMime, Extensions::BINARYMIME.with(Extensions::CHUNKING), "BINARYMIME"),
            (parameters.smtputf8, Extensions::SMTPUTF8, "SMTPUTF8"),
            (parameters.by.is_some(), Extensions::DELIVERBY, "DELIVERBY"),
            (parameters.hold.is_some(), Extensions::FUTURERELEASE, "FUTURERELEASE"),
            (parameters.priority.is_some(), Extensions::MT_PRIORITY, "MT-PRIORITY"),
            (parameters.require_tls, Extensions::REQUIRETLS, "REQUIRETLS"),
        ];
        for (_, extension, name) in demands.into_iter().filter(|(wanted, ..)| *wanted) {
            self.offers(extension, name)?;
        }
        let printable = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let values = [parameters.envid, parameters.auth];
        let in_range = parameters.priority.is_none_or(|priority| (-9..=9).contains(&priority));
        let good = values.into_iter().flatten().all(printable) && in_range;
        if good { Ok(()) } else { Err(ClientError::Argument) }
    }

    /// The parameters that go out, with their values.
    fn mail_words(&self, parameters: &MailParameters<'_>) -> Vec<(&'static str, Option<String>)> {
        let offers = self.capabilities.extensions;
        let mut words = Vec::new();
        let mut say = |wanted: bool, keyword, value: Option<String>| {
            if wanted {
                words.push((keyword, value));
            }
        };
        let dsn = offers.has(Extensions::DSN);
        let size = parameters.size.filter(|_| offers.has(Extensions::SIZE));
        say(size.is_some(), "SIZE", size.map(|size| size.to_string()));
        say(parameters.body == BodyType::EightBitMime, "BODY", Some("8BITMIME".into()));
        say(parameters.body == BodyType::BinaryMime, "BODY", Some("BINARYMIME".into()));
        say(parameters.smtputf8, "SMTPUTF8", None);
        say(dsn && parameters.ret == DsnReturn::Full, "RET", Some("FULL".into()));
        say(dsn && parameters.ret == DsnReturn::Headers, "RET", Some("HDRS".into()));
        let envid = parameters.envid.filter(|envid| dsn && !envid.is_empty());
        say(envid.is_some(), "ENVID", envid.map(|envid| xtext::encode(envid.as_bytes())));
        let auth = parameters.auth.filter(|_| offers.has(Extensions::AUTH));
        say(auth.is_some(), "AUTH", auth.map(auth_value));
        say(parameters.by.is_some(), "BY", parameters.by.map(by_value));
        let hold = parameters.hold.map(hold_word);
        say(hold.is_some(), hold.as_ref().map_or("", |word| word.0), hold.map(|word| word.1));
        say(parameters.priority.is_some(), "MT-PRIORITY", parameters.priority.map(|priority| priority.to_string()));
        say(parameters.require_tls, "REQUIRETLS", None);
        say(parameters.prdr && offers.has(Extensions::PRDR), "PRDR", None);
        words
    }

    fn rcpt(&mut self, recipient: &str, parameters: RcptParameters<'_>) -> Written {
        check_path(recipient, self.smtputf8)?;
        let dsn = self.capabilities.has(Extensions::DSN);
        let orcpt = parameters.orcpt.filter(|_| dsn).map(|text| self.orcpt(text)).transpose()?;
        self.push(&["RCPT TO:<", recipient, ">"]);
        if dsn && parameters.notify.0 != 0 {
            self.push(&[" NOTIFY=", &notify_value(parameters.notify)]);
        }
        if let Some(orcpt) = orcpt {
            self.push(&[" ORCPT=", &orcpt]);
        }
        self.push(&["\r\n"]);
        Ok(CommandKind::Rcpt)
    }

    /// RFC 3461 4.2, RFC 6533 3: characters above ASCII are written as themselves with SMTPUTF8, else as `\x{..}`.
    fn orcpt(&self, text: &str) -> Result<String, ClientError> {
        let (kind, address) = text.split_once(';').ok_or(ClientError::Argument)?;
        let atom = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        if kind.is_empty() || address.is_empty() || !kind.bytes().all(atom) || address.chars().any(char::is_control) {
            return Err(ClientError::Argument);
        }
        if !kind.eq_ignore_ascii_case("utf-8") {
            let address = Some(address).filter(|address| address.is_ascii()).ok_or(ClientError::NeedsSmtputf8)?;
            return Ok(format!("{kind};{}", xtext::encode(address.as_bytes())));
        }
        let raw = |c: char| matches!(c, '!'..='~') && !matches!(c, '\\' | '+' | '=') || !c.is_ascii() && self.smtputf8;
        let write = |c: char| if raw(c) { c.to_string() } else { format!("\\x{{{:02X}}}", u32::from(c)) };
        Ok(format!("{kind};{}", address.chars().map(write).collect::<String>()))
    }

    fn bdat(&mut self, size: u64, last: bool) -> Written {
        self.offers(Extensions::CHUNKING, "CHUNKING")?;
        if size == 0 && last && !self.binary {
            self.lines.finish()?;
        }
        self.push(&["BDAT ", &size.to_string(), if last { " LAST\r\n" } else { "\r\n" }]);
        Ok(if last { CommandKind::Content } else { CommandKind::Bdat })
    }

    /// RFC 4954 4: an empty initial response is written as `=`.
    fn auth(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Written {
        self.offers(Extensions::AUTH, "AUTH")?;
        let name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if mechanism.is_empty() || !mechanism.bytes().all(name) {
            return Err(ClientError::Argument);
        }
        let response = match initial {
            None => String::new(),
            Some([]) => " =".into(),
            Some(octets) => format!(" {}", base64_simd::STANDARD.encode_to_string(octets)),
        };
        self.push(&["AUTH ", mechanism, &response, "\r\n"]);
        Ok(CommandKind::Auth)
    }

    fn proxied(
        &mut self,
        verb: &'static str,
        extension: Extensions,
        attributes: &[(&str, &str)],
        kind: CommandKind,
    ) -> Written {
        self.offers(extension, verb)?;
        let good = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if attributes.is_empty() || !attributes.iter().all(|(name, _)| good(name)) {
            return Err(ClientError::Argument);
        }
        self.push(&[verb]);
        for (name, value) in attributes {
            let value = if value.is_empty() { "[UNAVAILABLE]".into() } else { xtext::encode(value.as_bytes()) };
            self.push(&[" ", name, "=", &value]);
        }
        self.push(&["\r\n"]);
        Ok(kind)
    }
}

/// RFC 4954 5.
fn auth_value(address: &str) -> String {
    if address.is_empty() { "<>".into() } else { xtext::encode(address.as_bytes()) }
}

fn by_value(by: DeliverBy) -> String {
    let mode = if by.mode == ByMode::Return { "R" } else { "N" };
    format!("{};{mode}{}", by.seconds, if by.trace { "T" } else { "" })
}

fn hold_word(hold: Hold) -> (&'static str, String) {
    match hold {
        Hold::For(seconds) => ("HOLDFOR", seconds.to_string()),
        Hold::Until(moment) => ("HOLDUNTIL", instant::write(moment)),
    }
}

fn notify_value(notify: DsnNotify) -> String {
    let words = [
        (DsnNotify::NEVER, "NEVER"),
        (DsnNotify::SUCCESS, "SUCCESS"),
        (DsnNotify::FAILURE, "FAILURE"),
        (DsnNotify::DELAY, "DELAY"),
    ];
    let said = words.iter().filter(|(bit, _)| notify.0 & bit != 0).map(|&(_, word)| word);
    said.collect::<Vec<_>>().join(",")
}

/// Addresses were checked when they came in; what was made of them since (rewriting) must not break the line.
fn check_path(address: &str, smtputf8: bool) -> Result<(), ClientError> {
    if !smtputf8 && !address.is_ascii() {
        return Err(ClientError::NeedsSmtputf8);
    }
    let plain = |b: u8| !b.is_ascii_control() && !matches!(b, b' ' | b'<' | b'>' | b'"');
    if address.bytes().all(plain) && !address.is_empty() || Address::parse(address).is_ok() {
        return Ok(());
    }
    Err(ClientError::Argument)
}
