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
pub(crate) const BAD_SENDER: Reply = Reply::new(501, (5, 1, 7), "Bad sender address");
pub(crate) const BAD_RECIPIENT: Reply = Reply::new(501, (5, 1, 3), "Bad recipient address");
/// RFC 6531 3.5, 4.2.
pub(crate) const NEEDS_SMTPUTF8: Reply = Reply::new(553, (5, 6, 7), "Such an address needs SMTPUTF8");
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

pub(crate) const TOO_MANY_RECIPIENTS: Reply = Reply::new(452, (4, 5, 3), "Too many recipients");
pub(crate) const TOO_MANY_ERRORS: Reply = Reply::new(421, (4, 7, 0), "Too many errors, closing");
pub(crate) const FOREIGN: Reply = Reply::new(421, (4, 7, 0), "This is not HTTP, closing");
pub(crate) const TOO_LARGE: Reply = Reply::new(552, (5, 3, 4), "Message too large");
pub(crate) const BAD_CONTENT: Reply = Reply::new(550, (5, 6, 0), "Content holds a CR or LF outside CRLF, or a NUL");
