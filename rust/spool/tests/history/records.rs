//! The records of the small ledger: messages, facts, and their rows in a checkpoint.

use angarium_spool::sim::Chance;
use angarium_spool::{BodyFile, Place};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub place: Place,
    pub copy: u32,
    pub body: Option<BodyFile>,
}

/// The payload of a message follows from its number alone.
pub fn payload(number: u64, body: Option<&BodyFile>) -> Vec<u8> {
    let mut chance = Chance::new(number);
    let length = [20, 300, 1200, 4000][chance.below(4) as usize] + chance.below(700);
    let mut bytes = number.to_le_bytes().to_vec();
    let name = body.map_or(String::new(), |body| body.name.clone());
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&body.map_or(0, |body| body.length).to_le_bytes());
    bytes.extend_from_slice(&body.map_or(0, |body| body.crc).to_le_bytes());
    bytes.extend((0..length).map(|_| chance.draw() as u8));
    bytes
}

pub fn read_body_reference(start: &[u8]) -> Option<BodyFile> {
    let length = usize::from(start[8]);
    if length == 0 {
        return None;
    }
    let rest = &start[9 + length..];
    Some(BodyFile {
        name: String::from_utf8(start[9..9 + length].to_vec()).ok()?,
        length: u64::from_le_bytes(rest[..8].try_into().ok()?),
        crc: u32::from_le_bytes(rest[8..12].try_into().ok()?),
    })
}

pub fn encode_fact(number: u64, closes: &[u64]) -> Vec<u8> {
    [number].iter().chain(closes).flat_map(|number| number.to_le_bytes()).collect()
}

pub fn decode_numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
}

pub fn encode_message(number: u64, message: &Message) -> Vec<u8> {
    let place = message.place;
    let mut bytes = number.to_le_bytes().to_vec();
    for part in [place.segment, place.offset, place.length, message.copy] {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    let body = message.body.clone().unwrap_or(BodyFile { name: String::new(), length: 0, crc: 0 });
    bytes.extend_from_slice(&body.length.to_le_bytes());
    bytes.extend_from_slice(&body.crc.to_le_bytes());
    let mut name = [0; 64];
    name[..body.name.len()].copy_from_slice(body.name.as_bytes());
    bytes.extend_from_slice(&name);
    bytes
}

pub const MESSAGE_LEN: usize = 8 + 16 + 12 + 64;

pub fn decode_message(bytes: &[u8]) -> (u64, Message) {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let place = Place { segment: u32_at(8), offset: u32_at(12), length: u32_at(16) };
    let name: String = bytes[36..].iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect();
    let body = BodyFile { name, length: u64_at(24), crc: u32_at(32) };
    (u64_at(0), Message { place, copy: u32_at(20), body: (!body.name.is_empty()).then_some(body) })
}
