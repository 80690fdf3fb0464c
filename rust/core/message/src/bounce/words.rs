// The rows themselves; `rules.rs` says how they are read.

/// Words, narrow before wide.
const RULES: &[Rule] = &[
    rule("complaint", Reason::Feedback, &["\"notificationtype\":\"complaint\""]),
    rule("google-groups", Reason::Rejected, &["groups.google.com", "google.com/a/*/bin/topic", "google groups"]),
    rule("filtered-late", Reason::Filtered, &["550 : user unknown", "550 unknown user *@", "550-'unknown user", "error_code :5.2.1", "error_code :requested", "after end of data:*user unknown", "[user unknown]", "mineo.jp>... user unknown", "sfr.fr>: recipient address rejected: user unknown"]),
    rule("procmail", Reason::MailerError, &["procmail", "|/usr/", "command failed", "exit 75"]),
    rule("no-service", Reason::NotAccept, &["indicated no smtp service", "couldn't find a mail exchanger or ip", "null mx", "nullmx"]),
    rule("domain-unknown", Reason::HostUnknown, &["domain does not exist", "after end of data: 553*does not exist", "domain is not reachable", "dns lookup failure", "550 host unknown"]),
    rule("dns-trouble", Reason::NetworkError, &["dns query failed", "name service error*try again", "name server: *host name lookup failure"]),
    rule("hold", Reason::OnHold, &["450 4.0.0 temporary failure", "failure reasons"]),
    rule("ldap", Reason::SystemError, &["ldap", "duplicated message-id", "ofr005_505", "service currently unavailable"]),
    rule("ip-banned", Reason::Blocked, &["banned sending ip", "ofr_999", "e-mail is redundant", "spamhaus.org"]),
    rule("no-such-access", Reason::UserUnknown, &["recipient address rejected: access denied"]),
    rule("signature-virus", Reason::VirusDetected, &["mcspamsignature"]),
    rule("too-many-first", Reason::TooManyConnections, &["connection rate limit", "frequency limited", "too many recipients"]),
    rule("content-risk", Reason::PolicyViolation, &["content presents a potential", "lpn000_630"]),
    rule("content-spam", Reason::SpamDetected, &["message content rejected", "ofr_506"]),
    rule("content-form", Reason::ContentError, &["duplicate header", "headers too large"]),
    rule("from-many", Reason::NotCompliant, &["messages with multiple*from"]),
    rule("deferred-complaints", Reason::BadReputation, &["[tss04]"]),
    rule("ip-mismatch", Reason::RequirePtr, &["mismatches client ip"]),
    rule("relay-first", Reason::NoRelaying, &["no relaying", "relay access denied"]),
    rule("policy-first", Reason::SecurityError, &["address rejected: policy violation", "unauthenticated senders"]),
    rule("disabled", Reason::Suspended, &["has been disabled", "account is locked", "disabled or discontinued"]),
    rule("sender-domain", Reason::Rejected, &["domain of sender", "sender was rejected", "not a registered gateway user", "unroutable sender", "sender address rejected"]),
    rule("sequence", Reason::SyntaxError, &["improper sequence"]),
    rule("attempts", Reason::Expired, &["delivery failed 20 attempts", "delevery to the following recipients was aborted after", "could not find a gateway", "requests to connect", "too long.*retry"]),
    rule("access-denied", Reason::SecurityError, &["access denied"]),
    rule("allowed-size", Reason::MailboxFull, &["exceeds allowed size"]),
    rule("not-exist", Reason::UserUnknown, &["user not exist", "domino*%g%#%l%/%h%j", "recipient name is not recognized"]),
    rule("auth-dmarc", Reason::AuthFailure, &["dmarc policy", "does not have authentication information", "fails dmarc", "dmarc check", "spf check failed", "spf: fail", "failed spf", "spf record", "unauthenticated mail is prohibited", "unauthenticated email", "not pass authentication", "does not pass", "dkim*fail", "failed dmarc", "spf validation", "spf * with ip", "email not accepted for policy reasons", "[spf]", "did not pass spf", "spf (sender policy"]),
    rule("require-ptr", Reason::RequirePtr, &["reverse dns", "ptr record", "cannot find your reverse", "cannot resolve your", "ip name lookup", "client host rejected: cannot find", "reverse hostname", "no ptr", "rdns", "reverse lookup", "ip address has no"]),
    rule("virus", Reason::VirusDetected, &["virus", "malware", "infected"]),
    rule("reputation", Reason::BadReputation, &["reputation", "low senderscore", "sender score"]),
    rule("too-many", Reason::TooManyConnections, &["too many connections", "too many concurrent", "connection limit", "concurrent connection", "too many * sessions", "exceeded * connections", "rate limited", "rate that has been limited", "throttl", "too many simultaneous"]),
    rule("full", Reason::MailboxFull, &["mailbox full", "mailbox is full", "quota", "over quota", "overquota", "mailbox size limit", "not enough storage", "insufficient disk", "disk quota", "exceeded storage", "mailbox * exceeded", "mailbox has exceeded", "account is full", "too much mail data", "inbox is full", "storage allocation", "mail box is full", "maildir over", "mailfolder is full", "mailbox would exceed", "メールボックス", "mailbox_full", "boite pleine", "is full", "out of storage"]),
    rule("too-big", Reason::MessageTooBig, &["message too large", "message size exceeds", "message too big", "exceeds maximum", "size limit", "too large", "message length exceeds", "mail size", "exceeds size"]),
    rule("spam", Reason::SpamDetected, &["spam", "junk mail", "bulk mail", "blacklisted url", "considered unsolicited", "looks like bulk"]),
    rule("moved", Reason::HasMoved, &["has moved", "no longer * changed", "address has been replaced", "has been replaced by", "recipient has moved"]),
    rule("no-relay", Reason::NoRelaying, &["relay access denied", "relaying denied", "not permitted to relay", "relay not permitted", "unable to relay", "relay denied", "relaying not", "is not a relay", "open relay", "we do not relay", "insecure mail relay", "relay prohibited", "authentication required for relay"]),
    rule("suspended", Reason::Suspended, &["suspend", "account is disabled", "account disabled", "mailbox disabled", "mailbox is disabled", "account is inactive", "inactive account", "mailbox unavailable * inactive", "temporarily disabled", "deactivated", "email account that you tried to reach is disabled", "is a deactivated", "user * disabled", "frozen", "is inactive", "not active", "is disabled"]),
    rule("no-mx", Reason::NotAccept, &["null mx", "nullmx", "does not accept mail", "no mail server", "domain does not accept", "smtp protocol returned a permanent error: 5* does not accept", "host/domain does not accept mail", "mail receiving disabled"]),
    rule("user-unknown", Reason::UserUnknown, &["user unknown", "unknown user", "no such user", "does not exist", "unknown recipient", "recipient unknown", "no mailbox here", "invalid recipient", "no such recipient", "no such mailbox", "mailbox unavailable", "recipient not found", "user not found", "not found in directory", "unrouteable address", "unknown local", "bad destination mailbox", "invalid mailbox", "no account", "not a valid", "addressee unknown", "unknown address", "unable to find user", "mailbox not found", "recipient rejected: no", "address unknown", "isn't a known", "is not known", "doesn't have a * account", "not listed in", "no such address", "account not found", "not our customer", "mailbox does not", "delivery error: dd this user doesn't have", "5.1.1 recipient", "no longer available", "not a known user", "unknown or illegal", "invalid user", "invalid address", "could not be found", "user does not", "there is no user", "non-existent", "undeliverable address", "no existe", "recipnotfound", "resolver.adr", "doesn't exist", "no such person", "user missing home", "not known here", "mailbox is unavailable"]),
    rule("host-unknown", Reason::HostUnknown, &["host unknown", "host not found", "unknown host", "domain not found", "name or service not known", "hostname lookup", "couldn't find any host", "no such domain", "domain name not found", "unrouteable mail domain", "host or domain name not found", "invalid domain", "unable to resolve", "lookup failed", "bad destination host", "domain must resolve", "non-existent domain", "nxdomain"]),
    rule("sender-refused", Reason::Rejected, &["sender address rejected", "sender rejected", "sender denied", "sender domain", "domain of sender", "sender is not", "invalid sender", "sender not", "from address", "bad sender", "sender verify", "sender address", "unresolvable sender", "you are not allowed to send", "not allowed to send", "recipient refused: sender", "address not accepted", "rejected the sender"]),
    rule("blocked", Reason::Blocked, &["blocked", "blacklist", "block list", "blocklist", "dnsbl", "rbl", "banned", "client host rejected", "connection refused by", "your ip", "your network", "helo command rejected", "bad helo", "ip address * denied", "connections from", "access from ip", "denied * ip", "listed in", "listed at", "refused. your ip"]),
    rule("security", Reason::SecurityError, &["authentication failed", "authentication required", "tls required", "starttls", "password", "encryption required", "verification failure", "security", "executable", "auth * fail"]),
    rule("policy", Reason::PolicyViolation, &["policy", "not permitted", "prohibited", "delivery not authorized", "local policy", "administrative", "we do not accept", "address rejected by", "closed mailing list", "not rfc * compliant", "denied by"]),
    rule("expired", Reason::Expired, &["expired", "timed out", "timeout", "too long", "could not be delivered for", "still undelivered", "not been delivered within", "retry time", "retry timeout", "delivery time", "message expired", "has been in the queue", "will keep trying", "been delayed", "maximum retry", "not able to deliver * days", "delayed", "could not connect", "connection timed", "connection refused"]),
    rule("network", Reason::NetworkError, &["network", "loop", "too many hops", "hop count", "unreachable", "no route", "host is down", "lost connection", "connection lost", "dns error", "name server", "dns lookup", "malformed or unexpected name server reply", "all relevant mx records point"]),
    rule("system", Reason::SystemError, &["system error", "configuration error", "local error", "internal error", "server error", "can't create", "cannot create", "cannot open", "service unavailable", "temporary failure", "local configuration", "unable to connect to", "system config"]),
    rule("mailer", Reason::MailerError, &["command failed", "unknown mailer", "mailer error", "exit status", "status 7", "x-unix", "command died", "procmail", "pipe"]),
    rule("content", Reason::ContentError, &["header * missing", "improper use of 8-bit", "header error", "content", "charset", "attachment", "mime"]),
    rule("syntax", Reason::SyntaxError, &["syntax error", "bad address syntax", "command not recognized", "unrecognized command", "need rcpt"]),
];

/// Words so wide that a status tells more.
const WIDE: &[Rule] = &[
    rule("filtered", Reason::Filtered, &["refused", "rejected", "filtered", "not accept", "denied", "due to extended inactivity", "unable to deliver", "could not be delivered"]),
];

/// Statuses that tell more than any words.
const FIRST: &[(&str, Reason)] = &[("1.6", Reason::HasMoved), ("2.3", Reason::ExceedLimit), ("7.13", Reason::Suspended)];

/// Statuses without class (RFC 3463 3) where words did not tell.
const STATUSES: &[(&str, Reason)] = &[
    ("1.0", Reason::UserUnknown), ("1.1", Reason::UserUnknown), ("1.2", Reason::HostUnknown), ("1.3", Reason::UserUnknown),
    ("1.4", Reason::Filtered), ("1.6", Reason::HasMoved), ("1.7", Reason::Rejected), ("1.8", Reason::Rejected),
    ("1.10", Reason::NotAccept), ("2.0", Reason::Filtered), ("2.1", Reason::Filtered), ("2.2", Reason::MailboxFull),
    ("2.3", Reason::ExceedLimit), ("2.4", Reason::Filtered), ("3.0", Reason::SystemError), ("3.1", Reason::SystemError),
    ("3.2", Reason::SystemError), ("3.4", Reason::MessageTooBig), ("3.5", Reason::SystemError), ("4.0", Reason::NetworkError),
    ("4.1", Reason::Expired), ("4.2", Reason::NetworkError), ("4.3", Reason::SystemError), ("4.4", Reason::HostUnknown),
    ("4.6", Reason::NetworkError), ("4.7", Reason::Expired), ("5.2", Reason::SyntaxError), ("6.0", Reason::ContentError),
    ("6.3", Reason::ContentError), ("7.0", Reason::Blocked), ("7.1", Reason::Rejected), ("7.9", Reason::SecurityError),
    ("7.20", Reason::AuthFailure), ("7.23", Reason::AuthFailure), ("7.25", Reason::RequirePtr), ("7.26", Reason::AuthFailure),
    ("7.27", Reason::NotAccept), ("7.509", Reason::AuthFailure),
];

const VACATION_SUBJECTS: &[&str] = &["vacation", "out of office", "auto reply", "autoreply", "auto:", "automatic reply", "automatische antwort", "auto-reply"];
const VACATION_TEXTS: &[&str] = &["i am away", "i'm away", "currently away", "on vacation", "out of the office", "i am on vacation"];

/// The mail is still tried, whatever class the report has.
const SOFT_TEXTS: &[&str] = &["retry timeout exceeded", "will be retried"];
