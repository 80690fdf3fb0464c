//! Content on its way in: behind 354 up to the final dot, or counted in chunks (RFC 3030).
//!
//! Octets that belong to a chunk are always taken as such, also when the chunk is refused: nothing that was content to
//! the client is ever read as a command.

use angarium_nouns::{BodyType, Reply};

use super::commands::Refusal;
use super::{Event, Server};
use crate::answers;
use crate::command::{self, ChunkCommand};
use crate::content::{Content, Piece};
use crate::table::{Row, State, Verb};

impl Server {
    pub(super) fn read_content<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Event<'a>>) {
        let (used, piece) = self.content.scan(input, &self.settings);
        (used, self.found(piece))
    }

    fn found<'a>(&mut self, piece: Piece<'a>) -> Option<Event<'a>> {
        match piece {
            Piece::Nothing => None,
            Piece::Text(text) => Some(Event::Body(text)),
            Piece::Breach(breach) => Some(self.break_content(breach.reply())),
            Piece::End => self.end_of_content(),
        }
    }

    fn break_content<'a>(&mut self, reply: Reply) -> Event<'a> {
        self.broken = Some(Box::new(self.worded(&reply).into_owned()));
        Event::Broken(reply)
    }

    fn end_of_content<'a>(&mut self) -> Option<Event<'a>> {
        if let Some(reply) = self.broken.take() {
            self.write_for_content(&reply);
            self.start(State::Ready);
            return None;
        }
        self.awaits = Some(Verb::FinalDot);
        // Eight-bit content under 7BIT is taken as what it is; the field is full of it.
        let body = match self.body {
            BodyType::BinaryMime => BodyType::BinaryMime,
            _ if self.content.is_eight_bit() => BodyType::EightBitMime,
            declared => declared,
        };
        Some(Event::End { size: self.content.size(), body })
    }

    /// BDAT. Without a size nobody knows where its octets end: the session ends.
    pub(super) fn chunk_command<'a>(&mut self, row: &Row, argument: &[u8]) -> Option<Event<'a>> {
        let Some((size, last)) = command::chunk(argument) else {
            return Some(self.hang_up(answers::BAD_CHUNK));
        };
        (self.chunk_left, self.chunk_last) = (size, last);
        if let Some(refusal) = self.refusal(row) {
            return self.drop_chunk(refusal);
        }
        if self.state == State::Recipients {
            self.content = Content::chunked();
        }
        let first = self.state == State::Recipients;
        if let Some(reply) = self.broken.take() {
            return Some(self.spoil_chunk(*reply));
        }
        let limit = self.settings.max_size;
        if limit > 0 && self.content.size().saturating_add(size) > limit {
            return Some(self.spoil_chunk(answers::TOO_LARGE));
        }
        self.awaits = Some(Verb::Bdat);
        Some(Event::Chunk(ChunkCommand { size, last, first }))
    }

    /// A chunk that may not come now: its octets are dropped, then it is answered.
    fn drop_chunk<'a>(&mut self, refusal: Refusal) -> Option<Event<'a>> {
        let reply = match refusal {
            Refusal::Hangup(reply) => return Some(self.hang_up(reply)),
            Refusal::Mistake(_) if self.count_error() => return Some(self.hang_up(answers::TOO_MANY_ERRORS)),
            Refusal::Quiet(reply) | Refusal::Mistake(reply) => reply,
        };
        let in_transaction = matches!(self.state, State::Mail | State::Recipients | State::Chunks);
        let event = self.spoil_chunk(reply);
        in_transaction.then_some(event)
    }

    /// The chunk is read and dropped, and the reply given at its end.
    fn spoil_chunk<'a>(&mut self, reply: Reply) -> Event<'a> {
        self.state = State::Chunk;
        self.break_content(reply)
    }

    /// The caller's answer to BDAT: a refusal is kept for the end of the octets.
    pub(super) fn answer_chunk(&mut self, reply: &Reply) {
        self.state = State::Chunk;
        match reply.code {
            421 => {
                self.write(reply);
                self.end();
            }
            400.. => self.broken = Some(Box::new(reply.clone())),
            _ => {}
        }
    }

    pub(super) fn read_chunk<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Event<'a>>) {
        let left = usize::try_from(self.chunk_left).unwrap_or(usize::MAX);
        let input = &input[..input.len().min(left)];
        let (used, piece) = if self.broken.is_some() {
            (input.len(), Piece::Nothing)
        } else if self.body == BodyType::BinaryMime {
            self.content.count_raw(input);
            (input.len(), Piece::Text(input))
        } else {
            self.content.scan(input, &self.settings)
        };
        self.chunk_left -= used as u64;
        (used, self.found(piece))
    }

    /// All octets of the chunk have come.
    pub(super) fn end_of_chunk<'a>(&mut self) -> Option<Event<'a>> {
        if let Some(reply) = self.broken.take() {
            return self.end_of_spoilt_chunk(&reply);
        }
        if self.chunk_last {
            let piece = self.content.finish(&self.settings);
            return self.found(piece);
        }
        self.say(&answers::CHUNK_OK);
        self.state = State::Chunks;
        None
    }

    /// RFC 3030 2: the transaction has failed; chunks that were pipelined behind are dropped without being mistakes.
    fn end_of_spoilt_chunk<'a>(&mut self, reply: &Reply) -> Option<Event<'a>> {
        if self.chunk_last {
            self.write_for_content(reply);
        } else {
            self.write(reply);
        }
        self.start(if self.greeted { State::Ready } else { State::Fresh });
        self.refused = true;
        None
    }
}
