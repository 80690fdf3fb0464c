//! What can go wrong in the ledger, each cause with the reply that a client deserves for it.
//!
//! The texts are for operators and logs; [`CommitError::reply`] is for peers. A fault (S5) stays until an operator
//! acts, a full disk (S4) heals by itself.

use angarium_nouns::Reply;

/// Why a group was refused. Nothing of it is promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    #[error("the disk is full")]
    Full,
    #[error("the {0} log failed and is not written any more: {1}")]
    Fault(FaultKind, String),
    #[error("the record is larger than a segment")]
    TooLarge,
    #[error("the ledger is closed")]
    Closed,
}

/// Which log a fault stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Intake is stopped.
    #[error("content")]
    Content,
    /// Intake is stopped and no new delivery starts.
    #[error("journal")]
    Journal,
}

impl CommitError {
    /// What the client is told.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Full => Reply::new(452, (4, 3, 1), "Insufficient system storage, try again later"),
            Self::Fault(..) => Reply::new(451, (4, 3, 0), "Local error in processing, try again later"),
            Self::TooLarge => Reply::new(552, (5, 3, 4), "Message with its envelope exceeds the size limit"),
            Self::Closed => Reply::new(421, (4, 3, 2), "Shutting down, try again later"),
        }
    }
}

/// Why the spool does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the spool is in use by another process")]
    Held,
    #[error("the spool was written by a newer version: {0}")]
    Newer(String),
    #[error("the spool cannot be read: {0}")]
    Unreadable(String),
    #[error("an intact record is not understood, so nothing is started: {0}")]
    NotUnderstood(String),
}

/// Why a message's content cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No open entry has this message any more, or it never was.
    #[error("the message is not in the queue")]
    Unknown,
    /// Its bytes fail their check or are gone: the entries are closed as `lost` and the fault is shown.
    #[error("the content is lost: {0}")]
    Lost(String),
    /// The disk does not give it now; nothing is changed.
    #[error("the content cannot be read now: {0}")]
    Unreadable(String),
    /// It has no such recipient.
    #[error("the message has no recipient {0}")]
    NoRecipient(u32),
}

/// Why a listing is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Predicate(#[from] ControlError),
    #[error("the place to go on from is not one that a listing gave")]
    Place,
}

/// Why a control is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("256 standing rules are live already; lift one first")]
    TooManyRules,
    #[error("there is no standing rule {0}")]
    NoRule(u64),
    #[error("one order keeps the content of 100000 messages at most")]
    TooManyClaimed,
    #[error("a control that touches everything must say so (`all`)")]
    Unbounded,
    #[error("{0:?} is neither a message nor a recipient")]
    Id(String),
    #[error("this needs {0}")]
    Missing(&'static str),
}

/// Why a follower is not written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    #[error("there is no follower {0:?}")]
    Unknown(String),
    #[error("1,000 followers are known already; forget one first")]
    TooMany,
}

/// Why the journal is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the cursor belongs to another spool")]
    OtherSpool,
    #[error("the journal cannot be read here: {0}")]
    Unreadable(String),
}

impl From<angarium_spool::CommitError> for CommitError {
    /// For content; a journal fault is told by [`CommitError::journal`].
    fn from(error: angarium_spool::CommitError) -> Self {
        Self::of(FaultKind::Content, error)
    }
}

impl CommitError {
    fn of(log: FaultKind, error: angarium_spool::CommitError) -> Self {
        match error {
            angarium_spool::CommitError::Full => Self::Full,
            angarium_spool::CommitError::Fault(why) => Self::Fault(log, why.to_string()),
            angarium_spool::CommitError::TooLarge { .. } => Self::TooLarge,
        }
    }

    pub(crate) fn journal(error: angarium_spool::CommitError) -> Self {
        Self::of(FaultKind::Journal, error)
    }
}

impl From<angarium_spool::SpoolError> for OpenError {
    fn from(error: angarium_spool::SpoolError) -> Self {
        use angarium_spool::SpoolError;
        match error {
            SpoolError::Held => Self::Held,
            SpoolError::Newer { .. } => Self::Newer(error.to_string()),
            _ => Self::Unreadable(error.to_string()),
        }
    }
}
