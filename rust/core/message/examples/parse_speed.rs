//! How fast messages are scanned and attachments decoded, beside the crate mail-parser and beside what memchr and
//! base64-simd can do at all. The benches run it (`benches/crates.py`).
//!
//! Prints a line for each figure: case, figure, value, noise, detail, with tabs between. Ours and the other take turns
//! in one run; figures are medians, the noise is the spread of the middle half of the ratios.

use std::hint::black_box;
use std::time::Instant;

use angarium_message::{Encoding, Tree};
use mail_parser::MessageParser;

const ROUNDS: usize = 41;

const HEADER: &str = "Return-Path: <sender@example.org>\r\nDelivered-To: someone@example.com\r\n\
    Received: from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.com with ESMTPS\r\n\
    \t(TLS_AES_256_GCM_SHA384) id 01JDHF5Q2Y0000000000000000 for <someone@example.com>;\r\n\
    \tWed, 25 Nov 2026 08:16:40 +0000\r\n\
    Received: from client.example.org (client.example.org [198.51.100.7]) by mail.example.org with ESMTPSA\r\n\
    \tid 4XyZ1aBcD; Wed, 25 Nov 2026 08:16:38 +0000\r\n\
    DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1; t=1795594600;\r\n\
    \th=From:To:Subject:Date:Message-ID:MIME-Version:Content-Type; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=;\r\n\
    \tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n\
    From: A Sender <sender@example.org>\r\nTo: Someone Else <someone@example.com>\r\n\
    Cc: One <one@example.com>, Two <two@example.com>\r\nSubject: A subject of the usual length for a mail\r\n\
    Date: Wed, 25 Nov 2026 08:16:38 +0000\r\nMessage-ID: <20261125081638.1234@client.example.org>\r\n\
    In-Reply-To: <20261124081638.1234@example.com>\r\nReferences: <20261124081638.1234@example.com>\r\n\
    User-Agent: Mail 1.0\r\nMIME-Version: 1.0\r\n";
const LINE: &str = "The quick brown fox jumps over the lazy dog, and then it goes home.\r\n";

fn text(size: usize) -> Vec<u8> {
    let mut mail = format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n").into_bytes();
    while mail.len() < size {
        mail.extend_from_slice(LINE.as_bytes());
    }
    mail
}

/// Text, HTML and an attachment in base64 that makes up most of `size`.
fn multipart(size: usize) -> Vec<u8> {
    let mut mail = format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=\"=_mixed_1\"\r\n\r\n--=_mixed_1\r\n\
        Content-Type: multipart/alternative; boundary=\"=_alternative_2\"\r\n\r\n--=_alternative_2\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n--=_alternative_2\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n\
        --=_alternative_2--\r\n--=_mixed_1\r\nContent-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename=report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        LINE.repeat(10),
        "<p>The quick brown fox =\r\njumps over the lazy dog.</p>\r\n".repeat(20),
    )
    .into_bytes();
    let content: Vec<u8> = (0..size.saturating_sub(mail.len()) / 78 * 57).map(|at| (at * 7 + at / 251) as u8).collect();
    angarium_message::transfer::write_base64(&content, &mut mail);
    mail.extend_from_slice(b"--=_mixed_1--\r\n");
    mail
}

/// Nanoseconds of one call, as the mean over `calls`.
fn timed<T>(calls: usize, run: &mut impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(run());
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs both in turn; (ours, theirs, ratio, noise of the ratio), times in nanoseconds.
fn compare<A, B>(calls: usize, mut ours: impl FnMut() -> A, mut theirs: impl FnMut() -> B) -> (f64, f64, f64, f64) {
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (timed(calls, &mut ours), timed(calls, &mut theirs))).collect();
    let mut ratios: Vec<f64> = rounds.iter().map(|(ours, theirs)| theirs / ours).collect();
    let ratio = median(&mut ratios);
    let noise = (ratios[ROUNDS * 3 / 4] - ratios[ROUNDS / 4]) / ratio;
    let mut first: Vec<f64> = rounds.iter().map(|round| round.0).collect();
    let mut second: Vec<f64> = rounds.iter().map(|round| round.1).collect();
    (median(&mut first), median(&mut second), ratio, noise)
}

fn scans(case: &str, mail: &[u8], calls: usize) {
    let parser = MessageParser::default();
    let (ours, theirs, ratio, noise) = compare(calls, || Tree::scan(mail), || parser.parse(mail));
    println!("{case}\ttimes mail-parser 0.11 parse\t{ratio}\t{noise}\t{:.2} µs; {:.2} µs", ours / 1e3, theirs / 1e3);
}

/// The line ends found by memchr, the lines put together, and those decoded by base64-simd: nothing else.
fn limit(encoded: &[u8], joined: &mut Vec<u8>, out: &mut [u8]) -> usize {
    joined.clear();
    let mut start = 0;
    for lf in memchr::memchr_iter(b'\n', encoded) {
        joined.extend_from_slice(&encoded[start..lf - 1]);
        start = lf + 1;
    }
    base64_simd::STANDARD.decode(joined, base64_simd::Out::from_slice(out)).map_or(0, |decoded| decoded.len())
}

fn decodes() {
    let content: Vec<u8> = (0..5 << 20).map(|at: usize| (at * 7 + at / 251) as u8).collect();
    let mut encoded = Vec::new();
    angarium_message::transfer::write_base64(&content, &mut encoded);
    let (mut joined, mut out) = (Vec::with_capacity(encoded.len()), vec![0; content.len() + 16]);
    let ours = || Encoding::Base64.decode(&encoded).bytes.len();
    let (ours, theirs, ratio, noise) = compare(2, ours, || limit(&encoded, &mut joined, &mut out));
    let rate = |nanos: f64| content.len() as f64 / nanos;
    let read = encoded.len() as f64 / ours;
    let case = "attachment of 5 MiB decoded from base64";
    println!("{case}\tGB/s\t{}\t{noise}\t{read:.2} GB/s of encoded bytes", rate(ours));
    println!("{case}\tshare of memchr and base64-simd\t{ratio}\t{noise}\tlimit {:.2} GB/s", rate(theirs));
}

fn main() {
    let brief = std::env::args().any(|argument| argument == "--brief");
    let calls = |usual: usize| if brief { 1 } else { usual };
    scans("message scan, 4 KiB text", &text(4096), calls(2000));
    scans("message scan, 100 KiB multipart", &multipart(100 << 10), calls(200));
    decodes();
}
