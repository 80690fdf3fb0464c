//! LIMITS of the peer (RFC 9422): what it says about one transaction or connection before we find out.

use angarium_smtp::Capabilities;

/// RCPTMAX: recipients of one transaction.
pub fn recipients(peer: &Capabilities) -> Option<u32> {
    limit(peer, "RCPTMAX=")
}

/// MAILMAX: transactions of one connection.
pub fn transactions(peer: &Capabilities) -> Option<u32> {
    limit(peer, "MAILMAX=")
}

/// Limits are words apart by spaces, each `NAME=VALUE`; 0 says nothing (RFC 9422 4).
fn limit(peer: &Capabilities, name: &str) -> Option<u32> {
    let words = peer.parameter("LIMITS")?.split(' ');
    let value = words.filter_map(|word| {
        word.get(..name.len()).filter(|n| n.eq_ignore_ascii_case(name)).map(|_| &word[name.len()..])
    });
    value.filter_map(|value| value.parse().ok()).find(|&value| value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_smtp::{Client, Command};

    #[test]
    fn reads() {
        for (line, want) in [
            ("250 LIMITS RCPTMAX=20 MAILMAX=5", (Some(20), Some(5))),
            ("250 limits mailmax=7", (None, Some(7))),
            ("250 LIMITS RCPTMAX=0 MAILMAX=x", (None, None)),
            ("250 PIPELINING", (None, None)),
        ] {
            let mut client = Client::new();
            client.receive(b"220 x\r\n").unwrap();
            client.send(Command::Ehlo("us.example")).unwrap();
            client.receive(format!("250-x\r\n{line}\r\n").as_bytes()).unwrap();
            let peer = client.capabilities();
            assert_eq!((recipients(peer), transactions(peer)), want, "{line}");
        }
    }
}
