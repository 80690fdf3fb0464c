//! SMTP without sockets: bytes to events and replies to bytes, in both roles (RFC 5321).
//!
//! [`Server`] and [`Client`] hold what a connection must remember between two reads and nothing else: no clock, no
//! files, no policy. The rules stand in three tables: `table` (verbs, states, parameters of the server), `settings`
//! (extensions, shared by both roles) and `client` (which reply each command may get). A further verb is a row there.
//!
//! The peer's mistakes are values: the server answers them itself, the client returns a [`ClientError`].
#![forbid(unsafe_code)]

mod answers;
mod capabilities;
mod client;
mod command;
mod content;
mod instant;
mod parameters;
mod proxied;
pub mod proxy;
mod replies;
pub mod sasl;
mod server;
mod settings;
mod stuffing;
mod table;
mod wording;
pub mod xtext;

pub use capabilities::Capabilities;
pub use client::{Client, ClientError, Command, CommandKind, MailParameters, RcptParameters};
pub use command::{
    AuthCommand, ByMode, ChunkCommand, DeliverBy, EtrnCommand, EtrnScope, HelloCommand, Hold, MailCommand, RcptCommand,
};
pub use proxied::{Given, ProxiedCommand};
pub use server::{Cut, Event, Server};
pub use settings::{BareNewline, Extensions, Limits, MIN_LINE, ServerSettings, SettingsError};
pub use table::{State, Verb};
pub use wording::Wording;
