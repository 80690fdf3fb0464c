//! Logins: the vectors of the standards, both roles against each other, garbage.
#![allow(clippy::unwrap_used)]

use angarium_smtp::sasl::{
    ClientExchange, ClientLogin, Credentials, Exchange, Failure, Identity, KeyKind, Mechanism, SaslError, Secret,
    Setting, Step, StoredKeys, prepared,
};
use proptest::prelude::*;

fn identity(login: &str, authzid: &str) -> Identity {
    Identity { login: login.into(), authzid: authzid.into() }
}

fn client(secret: &Secret) -> ClientLogin<'_> {
    ClientLogin {
        login: "user",
        authzid: "",
        secret,
        server: ("mx.example", 587),
        nonce: "rOprNGfwEbeRWgbNEkqO",
        channel: None,
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(text).unwrap()
}

const W3_SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn setting() -> Setting<'static> {
    Setting { hostname: "mx.example", nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ..Setting::default() }
}

/// The example of RFC 7677 3, in both roles.
#[test]
fn scram_sha_256_as_the_standard_has_it() {
    let secret = Secret::from("pencil");
    let (mut client, initial) = ClientExchange::start(Mechanism::ScramSha256, client(&secret)).unwrap();
    assert_eq!(initial.as_deref(), Some(FIRST));
    assert_eq!(client.finish(), Err(SaslError::ServerUnproven), "235 too early is no success");
    assert_eq!(client.answer(SERVER_FIRST.as_bytes()).unwrap(), FINAL.as_bytes());
    assert_eq!(client.finish(), Err(SaslError::ServerUnproven));
    assert_eq!(client.answer(SERVER_FINAL.as_bytes()).unwrap(), b"");
    assert_eq!(client.finish(), Ok(()));

    let (mut server, step) = Exchange::start(Mechanism::ScramSha256, Some(FIRST), setting());
    assert_eq!(step, Step::Keys { login: "user".into(), kind: KeyKind::ScramSha256 });
    let step = server.keys(StoredKeys::scram(b"pencil", &from_base64(W3_SALT), 4_096));
    assert_eq!(step, Step::Challenge(SERVER_FIRST.into()));
    assert_eq!(server.respond(FINAL.as_bytes(), setting()), Step::Challenge(SERVER_FINAL.into()));
    assert_eq!(server.respond(b"", setting()), Step::Accepted(identity("user", "")));
}

/// The example of RFC 2195 3.
#[test]
fn cram_md5_as_the_standard_has_it() {
    let setting = Setting { hostname: "postoffice.reston.mci.net", nonce: "1896.697170952", ..Setting::default() };
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let response = b"tim b913a602c7eda7a495b4e6e7334d3890";
    let secret = Secret::from("tanstaaftanstaaf");
    let login = ClientLogin { login: "tim", ..client(&secret) };
    let (mut client, initial) = ClientExchange::start(Mechanism::CramMd5, login).unwrap();
    assert_eq!((initial, client.answer(challenge)), (None, Ok(response.to_vec())));

    let (mut server, step) = Exchange::start(Mechanism::CramMd5, None, setting);
    assert_eq!(step, Step::Challenge(challenge.to_vec()));
    assert_eq!(server.respond(response, setting), Step::Keys { login: "tim".into(), kind: KeyKind::CramMd5 });
    assert_eq!(server.keys(StoredKeys::Cram { secret }), Step::Accepted(identity("tim", "")));
    for keys in
        [StoredKeys::Cram { secret: Secret::from("other") }, StoredKeys::Unknown, StoredKeys::scram(b"x", b"y", 1)]
    {
        let (mut server, _) = Exchange::start(Mechanism::CramMd5, None, setting);
        let _ = server.respond(response, setting);
        assert_eq!(server.keys(keys), Step::Refused(Failure::Credentials));
    }
}

/// The example of RFC 4616 4, and how it may be wrong.
#[test]
fn plain() {
    let (mut exchange, step) = Exchange::start(Mechanism::Plain, None, setting());
    assert_eq!(step, Step::Challenge(Vec::new()));
    let password = Secret::from("xipj3plmq");
    let credentials = Credentials::Password { identity: identity("tim", ""), password };
    assert_eq!(exchange.respond(b"\0tim\0xipj3plmq", setting()), Step::Check(credentials));
    assert_eq!(exchange.verdict(true), Step::Accepted(identity("tim", "")));
    let (mut exchange, _) = Exchange::start(Mechanism::Plain, Some(b"Ursel\0Kurt\0xipj3plmq"), setting());
    assert_eq!(exchange.verdict(false), Step::Refused(Failure::Credentials));
    assert_eq!(exchange.verdict(true), Step::Refused(Failure::Malformed), "one verdict");
    let long = [b"\0a\0".as_slice(), &[b'x'; 1_025]].concat();
    let long_name = [b"\0".as_slice(), &[b'x'; 256], b"\0p"].concat();
    let bad: [&[u8]; 10] =
        [b"", b"tim", b"\0tim", b"\0tim\0", b"\0\0pw", b"\0tim\0p\0w", b"\0t\nim\0p", b"\0t\xff\0p", &long, &long_name];
    for message in bad {
        let (_, step) = Exchange::start(Mechanism::Plain, Some(message), setting());
        assert_eq!(step, Step::Refused(Failure::Malformed), "{message:?}");
    }
}

#[test]
fn login() {
    let (mut exchange, step) = Exchange::start(Mechanism::Login, None, setting());
    assert_eq!(step, Step::Challenge(b"Username:".to_vec()));
    assert_eq!(exchange.respond(b"tim", setting()), Step::Challenge(b"Password:".to_vec()));
    let credentials = Credentials::Password { identity: identity("tim", ""), password: Secret::from("pw") };
    assert_eq!(exchange.respond(b"pw", setting()), Step::Check(credentials));
    assert_eq!(exchange.respond(b"pw", setting()), Step::Refused(Failure::Malformed), "nothing is asked");
    assert_eq!(exchange.verdict(true), Step::Refused(Failure::Malformed), "it is over");
    let (mut exchange, step) = Exchange::start(Mechanism::Login, Some(b"tim"), setting());
    assert_eq!(step, Step::Challenge(b"Password:".to_vec()));
    assert_eq!(exchange.respond(b"", setting()), Step::Refused(Failure::Malformed));
}

/// The examples of RFC 7628 4, and the way out of a failure.
#[test]
fn bearer_tokens() {
    let message = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
    let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    let login = ClientLogin {
        login: "user@example.com",
        secret: &token,
        server: ("server.example.com", 143),
        ..client(&token)
    };
    let (mut client, initial) = ClientExchange::start(Mechanism::OauthBearer, login).unwrap();
    assert_eq!(initial.as_deref(), Some(message.as_slice()));
    assert_eq!(client.answer(b"{\"status\":\"invalid_token\"}"), Ok(b"\x01".to_vec()));
    assert_eq!(client.finish(), Err(SaslError::ServerUnproven), "who was denied has no success");

    let (mut server, step) = Exchange::start(Mechanism::OauthBearer, Some(message), setting());
    assert_eq!(
        step,
        Step::Check(Credentials::Token { identity: identity("user@example.com", ""), token: token.clone() })
    );
    assert_eq!(server.verdict(false), Step::Challenge(b"{\"status\":\"invalid_token\"}".to_vec()));
    assert_eq!(server.respond(b"\x01", setting()), Step::Refused(Failure::Credentials));

    let (_, initial) = ClientExchange::start(Mechanism::Xoauth2, login).unwrap();
    let (mut server, step) = Exchange::start(Mechanism::Xoauth2, initial.as_deref(), setting());
    assert_eq!(
        step,
        Step::Check(Credentials::Token { identity: identity("user@example.com", ""), token: token.clone() })
    );
    assert_eq!(server.verdict(true), Step::Accepted(identity("user@example.com", "")));
    let bad: [&[u8]; 9] = [
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Basic eA==\x01\x01",
        b"n,,\x01auth=Bearer x\x01",
        b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"p=x,,\x01auth=Bearer x\x01\x01",
        b"n,a=,\x01auth=Bearer x\x01\x01",
    ];
    for message in bad {
        let (_, step) = Exchange::start(Mechanism::OauthBearer, Some(message), setting());
        assert_eq!(step, Step::Refused(Failure::Malformed), "{message:?}");
    }
    for secret in ["", "a b", "a\x01b"] {
        let secret = Secret::from(secret);
        let start = ClientExchange::start(Mechanism::Xoauth2, ClientLogin { secret: &secret, ..login });
        assert_eq!(start.err(), Some(SaslError::Argument));
    }
}

#[test]
fn external() {
    let (mut exchange, step) = Exchange::start(Mechanism::External, Some(b"other@example.org"), setting());
    assert_eq!(step, Step::Check(Credentials::External { identity: identity("", "other@example.org") }));
    assert_eq!(exchange.verdict(true), Step::Accepted(identity("", "other@example.org")));
    let (_, step) = Exchange::start(Mechanism::External, Some(b""), setting());
    assert_eq!(step, Step::Check(Credentials::External { identity: Identity::default() }));
}

/// Plays a SCRAM login between both roles.
fn scram(mechanism: Mechanism, login: ClientLogin<'_>, setting: Setting<'_>, password: &str) -> Step {
    let (mut client, initial) = ClientExchange::start(mechanism, login).unwrap();
    let (mut server, mut step) = Exchange::start(mechanism, initial.as_deref(), setting);
    for _ in 0..4 {
        step = match step {
            Step::Keys { .. } => server.keys(StoredKeys::scram(password.as_bytes(), b"salt", 4_096)),
            Step::Challenge(challenge) => match client.answer(&challenge) {
                Ok(response) => server.respond(&response, setting),
                Err(error) => panic!("{error}"),
            },
            end => return end,
        };
    }
    step
}

#[test]
fn channel_binding() {
    let secret = Secret::from("pw");
    let bound = Setting { exporter: Some(b"exporter"), end_point: Some(b"point"), plus_offered: true, ..setting() };
    let login = |channel| ClientLogin { channel, ..client(&secret) };
    let plus = |channel| scram(Mechanism::ScramSha256Plus, login(Some(channel)), bound, "pw");
    assert_eq!(plus(("tls-exporter", b"exporter")), Step::Accepted(identity("user", "")));
    assert_eq!(plus(("tls-server-end-point", b"point")), Step::Accepted(identity("user", "")));
    assert_eq!(plus(("tls-exporter", b"of somebody between")), Step::Refused(Failure::ChannelBinding));
    assert_eq!(plus(("tls-unique", b"exporter")), Step::Refused(Failure::ChannelBinding));
    let plain = |channel, setting| scram(Mechanism::ScramSha256, login(channel), setting, "pw");
    assert_eq!(plain(None, bound), Step::Accepted(identity("user", "")), "a client that cannot");
    assert_eq!(plain(Some(("tls-exporter", b"exporter")), setting()), Step::Accepted(identity("user", "")));
    let hidden = plain(Some(("tls-exporter", b"exporter")), bound);
    assert_eq!(hidden, Step::Refused(Failure::ChannelBinding), "the offer was hidden from the client");
    let start = ClientExchange::start(Mechanism::ScramSha256Plus, login(None));
    assert_eq!(start.err(), Some(SaslError::NoChannel));
}

#[test]
fn scram_that_fails() {
    let secret = Secret::from("wrong");
    assert_eq!(scram(Mechanism::ScramSha256, client(&secret), setting(), "pw"), Step::Refused(Failure::Credentials));
    let first: [&[u8]; 12] = [
        b"",
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,r=x,n=user",
        b"n,,n=,r=x",
        b"n,,n=a=b,r=x",
        b"n,,n=a,r=",
        b"n,,n=a,r=\x01",
        b"x,,n=a,r=x",
        b"n,b=x,n=a,r=x",
        b"n,,m=ext,n=a,r=x",
    ];
    for message in first {
        let (_, step) = Exchange::start(Mechanism::ScramSha256, Some(message), setting());
        assert_eq!(step, Step::Refused(Failure::Malformed), "{message:?}");
    }
    let finals = [
        "",
        "c=biws",
        &FINAL.replace("c=biws", "c=eSws"),
        &FINAL.replace("%hv", "%hx"),
        &FINAL[..FINAL.len() - 4],
        &FINAL.replace("p=dH", "p=dI"),
        &FINAL.replace(",p=", ",p=AAAA"),
        &FINAL[..FINAL.find(",p=").unwrap() + 3],
    ];
    for message in finals {
        let (mut server, _) = Exchange::start(Mechanism::ScramSha256, Some(FIRST), setting());
        let _ = server.keys(StoredKeys::scram(b"pencil", &from_base64(W3_SALT), 4_096));
        assert!(matches!(server.respond(message.as_bytes(), setting()), Step::Refused(_)), "{message:?}");
        assert!(matches!(server.respond(FINAL.as_bytes(), setting()), Step::Refused(_)), "one try");
    }
    let (mut server, _) = Exchange::start(Mechanism::ScramSha256, Some(FIRST), setting());
    assert_eq!(server.keys(StoredKeys::Unknown), Step::Refused(Failure::Credentials));
}

/// A login that does not exist looks like one that does, every time, up to the proof.
#[test]
fn fake_keys() {
    let ask = |login: &str, proof: &[u8]| {
        let first = format!("n,,n={login},r=abc");
        let (mut server, _) = Exchange::start(Mechanism::ScramSha256, Some(first.as_bytes()), setting());
        let challenge = server.keys(StoredKeys::fake(b"key of the process", login, 10_000));
        (challenge, server.respond(proof, setting()))
    };
    let proof = b"c=biws,r=abc%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(ask("nobody", proof), ask("nobody", proof));
    assert_ne!(ask("nobody", proof).0, ask("somebody", proof).0);
    assert_eq!(ask("nobody", proof).1, Step::Refused(Failure::Credentials));
}

#[test]
fn a_client_trusts_no_server_without_proof() {
    let secret = Secret::from("pencil");
    let start = || ClientExchange::start(Mechanism::ScramSha256, client(&secret)).unwrap().0;
    #[rustfmt::skip]
    let table = [
        (SERVER_FIRST.replace("i=4096", "i=1"), SaslError::Iterations),
        (SERVER_FIRST.replace("i=4096", "i=4294967295"), SaslError::Iterations),
        (SERVER_FIRST.replace("r=rO", "r=xO"), SaslError::Challenge),
        ("r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".into(), SaslError::Challenge),
        (SERVER_FIRST.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s="), SaslError::Challenge),
        ("e=other-error".into(), SaslError::Challenge),
        (String::new(), SaslError::Challenge),
    ];
    for (challenge, error) in table {
        let mut exchange = start();
        assert_eq!(exchange.answer(challenge.as_bytes()), Err(error), "{challenge:?}");
        assert_eq!(exchange.answer(SERVER_FIRST.as_bytes()), Err(SaslError::Challenge), "it is over");
    }
    let mut exchange = start();
    exchange.answer(SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(exchange.answer(SERVER_FINAL.replace("v=6r", "v=7r").as_bytes()), Err(SaslError::ServerUnproven));
    assert_eq!(exchange.finish(), Err(SaslError::ServerUnproven));
    for (mechanism, login) in [(Mechanism::Plain, ""), (Mechanism::Plain, "a\0b"), (Mechanism::ScramSha256, "a\nb")] {
        let start = ClientExchange::start(mechanism, ClientLogin { login, ..client(&secret) });
        assert_eq!(start.err(), Some(SaslError::Argument));
    }
    // PLAIN: a server that asks once more gets nothing.
    let (mut exchange, _) = ClientExchange::start(Mechanism::Plain, client(&secret)).unwrap();
    assert_eq!(exchange.answer(b"again"), Err(SaslError::Challenge));
}

/// RFC 4013 3, and what the profile has nothing to say of.
#[test]
fn one_way_to_write_a_name() {
    for (written, meant) in [
        ("I\u{ad}X", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u{aa}", "a"),
        ("\u{2168}", "IX"),
        ("e\u{301}", "é"),
        ("a\u{a0}b", "a b"),
        // Prohibited (bidirectional), and newer than Unicode 3.2: as they come.
        ("\u{627}1", "\u{627}1"),
        ("\u{1f600}", "\u{1f600}"),
    ] {
        assert_eq!(prepared(written), meant, "{written:?}");
    }
    let message = "\0re\u{301}ne\u{301}\0pa\u{aa}".as_bytes();
    let (_, step) = Exchange::start(Mechanism::Plain, Some(message), setting());
    let Step::Check(Credentials::Password { identity, password }) = step else { panic!("{step:?}") };
    assert_eq!((&*identity.login, password.as_bytes()), ("réné", "paa".as_bytes()));
}

#[test]
fn secrets_are_not_shown() {
    let (_, step) = Exchange::start(Mechanism::Plain, Some(b"\0tim\0xipj3plmq"), setting());
    assert!(!format!("{step:?}").contains("xipj"));
}

proptest! {
    #[test]
    fn names_and_passwords_of_any_kind(login in "[^\\p{Cc}]{1,40}", password in "[^\\p{Cc}]{1,40}") {
        let (name, kept) = (prepared(&login), prepared(&password));
        prop_assume!(!name.is_empty() && !kept.is_empty());
        let secret = Secret::new(password.as_bytes());
        let as_login = ClientLogin { login: &login, authzid: "b,c=d", ..client(&secret) };
        let expected = Step::Accepted(identity(&name, "b,c=d"));
        prop_assert_eq!(scram(Mechanism::ScramSha256, as_login, setting(), &password), expected);
    }

    #[test]
    fn garbage_is_refused_or_asked_about(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..4)) {
        for mechanism in Mechanism::ALL {
            let (mut server, mut step) = Exchange::start(mechanism, None, setting());
            for message in &messages {
                prop_assert!(!matches!(step, Step::Accepted(_)));
                if let Step::Challenge(_) = step {
                    step = server.respond(message, setting());
                }
            }
        }
    }
}
