//! The server's own replies, each a constant. Which mistake gets which is said in `table`, `command` and `content`.

use angarium_nouns::Reply;

pub(crate) const SENDER_OK: Reply = Reply::new(250, (2, 1, 0), "Sender OK");
pub(crate) const RECIPIENT_OK: Reply = Reply::new(250, (2, 1, 5), "Recipient OK");
pub(crate) const START_CONTENT: Reply = Reply::plain(354, "End data with <CR><LF>.<CR><LF>");
pub(crate) const OK: Reply = Reply::new(250, (2, 0, 0), "OK");
pub(crate) const HELP: Reply = Reply::new(214, (2, 0, 0), "");
pub(crate) const BYE: Reply = Reply::new(221, (2, 0, 0), "Bye");
/// RFC 5321 3.5.3: 252 promises nothing about the mailbox.
pub(crate) const NOT_VERIFIED: Reply = Reply::new(252, (2, 0, 0), "Cannot verify; send mail and see");

pub(crate) const READY_FOR_TLS: Reply = Reply::new(220, (2, 0, 0), "Ready to start TLS");
/// RFC 4954 4.
pub(crate) const LOGGED_IN: Reply = Reply::new(235, (2, 7, 0), "Authentication succeeded");
/// RFC 1985 5.1.
pub(crate) const QUEUING: Reply = Reply::new(250, (2, 0, 0), "Queuing for node started");
/// RFC 5321 3.5.2.
pub(crate) const NOT_EXPANDED: Reply = Reply::new(550, (5, 7, 1), "Lists are not shown");
pub(crate) const ANALYSIS: Reply = Reply::plain(353, "Content analysis has started");

pub(crate) const LINE_TOO_LONG: Reply = Reply::new(500, (5, 5, 2), "Line too long");
pub(crate) const BARE_CONTROL: Reply =
    Reply::new(500, (5, 5, 2), "Lines end with CRLF and hold no other CR, LF or NUL");
pub(crate) const UNKNOWN_VERB: Reply = Reply::new(500, (5, 5, 1), "Unknown command");
pub(crate) const NOT_OFFERED: Reply = Reply::new(502, (5, 5, 1), "Command not offered here");

pub(crate) const NO_ARGUMENT: Reply = Reply::new(501, (5, 5, 4), "This command takes no argument");
pub(crate) const ARGUMENT_MISSING: Reply = Reply::new(501, (5, 5, 4), "An argument is missing");
pub(crate) const BAD_HELLO: Reply = Reply::new(501, (5, 5, 4), "Give your host name or address literal");
pub(crate) const MAIL_SYNTAX: Reply = Reply::new(501, (5, 5, 4), "Write MAIL FROM:<address>");
pub(crate) const RCPT_SYNTAX: Reply = Reply::new(501, (5, 5, 4), "Write RCPT TO:<address>");
pub(crate) const BAD_SENDER: Reply = Reply::new(501, (5, 1, 7), "Bad sender address; write local@domain");
pub(crate) const BAD_RECIPIENT: Reply = Reply::new(501, (5, 1, 3), "Bad recipient address; write local@domain");
/// RFC 6531 3.5, 4.2.
pub(crate) const NEEDS_SMTPUTF8: Reply = Reply::new(553, (5, 6, 7), "Such an address needs SMTPUTF8 behind MAIL");
pub(crate) const UNKNOWN_PARAMETER: Reply = Reply::new(555, (5, 5, 4), "Unknown parameter");
pub(crate) const BAD_PARAMETER: Reply = Reply::new(501, (5, 5, 4), "Bad value of a parameter");
pub(crate) const REPEATED_PARAMETER: Reply = Reply::new(501, (5, 5, 4), "A parameter is given twice");

pub(crate) const HELLO_FIRST: Reply = Reply::new(503, (5, 5, 1), "Say EHLO first");
pub(crate) const MAIL_FIRST: Reply = Reply::new(503, (5, 5, 1), "Send MAIL first");
pub(crate) const RCPT_FIRST: Reply = Reply::new(503, (5, 5, 1), "Send RCPT first");
pub(crate) const MAIL_TWICE: Reply = Reply::new(503, (5, 5, 1), "A sender is given already");
pub(crate) const ONLY_QUIT: Reply = Reply::new(503, (5, 5, 1), "No service here; send QUIT");
/// RFC 5321 3.3: all RCPT commands of this transaction were refused.
pub(crate) const NO_RECIPIENTS: Reply = Reply::new(554, (5, 5, 1), "No valid recipients");

/// RFC 2033 4.2.
pub(crate) const NO_RECIPIENTS_LMTP: Reply = Reply::new(503, (5, 5, 1), "No valid recipients");

pub(crate) const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, (4, 5, 3), "Too many recipients; send the rest in another transaction");
pub(crate) const TOO_MANY_ERRORS: Reply = Reply::new(421, (4, 7, 0), "Too many errors, closing");
pub(crate) const FOREIGN: Reply = Reply::new(421, (4, 7, 0), "This is not HTTP, closing");
pub(crate) const TOO_LARGE: Reply = Reply::new(552, (5, 3, 4), "Message too large; the answer to EHLO names the limit");
pub(crate) const BAD_CONTENT: Reply =
    Reply::new(550, (5, 6, 0), "Content holds a CR or LF outside CRLF, or a NUL; end lines with CRLF");

/// RFC 3207 4.
pub(crate) const TLS_FIRST: Reply = Reply::new(530, (5, 7, 0), "Must issue a STARTTLS command first");
pub(crate) const TLS_ALREADY: Reply = Reply::new(503, (5, 5, 1), "TLS is on already");
pub(crate) const INJECTED: Reply = Reply::new(554, (5, 5, 1), "Nothing may follow STARTTLS before the handshake");
pub(crate) const TLS_UNASKED: Reply = Reply::new(421, (4, 7, 0), "TLS does not begin here by itself, closing");
/// RFC 4954 6.
pub(crate) const LOGIN_FIRST: Reply = Reply::new(530, (5, 7, 0), "Authentication required; log in with AUTH");
pub(crate) const LOGGED_IN_ALREADY: Reply = Reply::new(503, (5, 5, 1), "You are logged in already");
pub(crate) const LOGIN_NEEDS_TLS: Reply =
    Reply::new(538, (5, 7, 11), "Encryption required for authentication; send STARTTLS first");
pub(crate) const NOT_IN_A_TRANSACTION: Reply = Reply::new(503, (5, 5, 1), "Not within a mail transaction");
pub(crate) const UNKNOWN_MECHANISM: Reply =
    Reply::new(504, (5, 5, 4), "This mechanism is not offered; the answer to EHLO names those that are");
pub(crate) const BAD_BASE64: Reply = Reply::new(501, (5, 5, 2), "Cannot decode the base64");
pub(crate) const LOGIN_CANCELLED: Reply = Reply::new(501, (5, 7, 0), "Authentication cancelled");
pub(crate) const RESPONSE_TOO_LONG: Reply = Reply::new(500, (5, 5, 6), "Authentication line too long");

/// What follows a BDAT without a readable size cannot be told from commands.
pub(crate) const BAD_CHUNK: Reply = Reply::new(501, (5, 5, 4), "Write BDAT size [LAST]; closing");
/// RFC 3030 2: DATA and BDAT do not mix.
pub(crate) const IN_CHUNKS: Reply = Reply::new(503, (5, 5, 1), "A message has begun with BDAT; send BDAT or RSET");
/// RFC 3030 3.
pub(crate) const BINARY_NEEDS_CHUNKS: Reply = Reply::new(503, (5, 5, 1), "Send BINARYMIME with BDAT");
pub(crate) const CHUNK_OK: Reply = Reply::new(250, (2, 0, 0), "Octets received");

pub(crate) const TOO_SOON: Reply = Reply::new(501, (5, 5, 4), "BY names too short a time");
pub(crate) const HELD_TOO_LONG: Reply = Reply::new(501, (5, 5, 4), "Messages are not held for so long");
/// RFC 1985 5.1.
pub(crate) const BAD_NODE: Reply = Reply::new(501, (5, 5, 4), "Write ETRN domain, @domain or #queue");
pub(crate) const BAD_ATTRIBUTE: Reply = Reply::new(501, (5, 5, 4), "Bad attribute or value");
