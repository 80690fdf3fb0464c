"""DKIM: messages, keys and records of dkimpy's tests. What is signed there is verified, bad keys are refused, every
key signs and is verified with each record that publishes it, every message survives signing in every form."""

from __future__ import annotations

from pathlib import Path

from angarium.auth import Answer, DkimKey, DkimSigner, sign, verify_sync

from tests.suites import Result

# RFC 8463 A.2: the record of the Ed25519 signature in rfc6376.signed.msg; the suite has no file of it.
BRISBANE = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
# file → the outcomes of its signatures, from the top, with the records that belong to them.
SIGNED = {
    "rfc6376.signed.msg": ("pass", "pass"),
    "rfc6376.signed.rsa.msg": ("pass",),
    # t= was taken out of this one after it had been signed.
    "rfc6376.signed.no_t.msg": ("fail",),
    "ed25519test2.msg": ("pass",),
}
# What a record does to a good signature of the key test.private.
RECORDS = {
    "test.txt": "pass",
    "test2.txt": "pass",
    "badk.txt": "permerror",
    "badversion.txt": "permerror",
    "test_bad.txt": "permerror",
    "test_tlsrpt.txt": "permerror",
}
KEYS = {
    "test.private": ("test.txt",),
    "test2.private": (),
    "1024_testkey.key": ("1024_testkey_wo_markers.pub.txt", "1024_testkey_wo_markers.pub.rsa.txt"),
    "2048_testkey.key": ("2048_testkey_wo_markers.pub.txt", "2048_testkey_wo_markers.pub.rsa.txt"),
    "2048_testkey_PKCS8.key": ("2048_testkey_PKCS8.key.pub.txt",),
    "ed25519test.key": ("ed25519test.dns",),
    "rfc8032_7_1.key": (),
}
UNSIGNED = (
    "rfc6376.msg",
    "rfc6376.w1258.msg",
    "ed25519test.msg",
    "test.message",
    "test2.message",
    "test_extra.message",
)
NOW = 1_600_000_000


def run(folder: Path) -> Result:
    result = Result("dkim")
    known = {
        "brisbane._domainkey.football.example.com": BRISBANE,
        "test._domainkey.football.example.com": (folder / "test.txt").read_bytes().strip(),
        "sed._domainkey.test.ex": (folder / "eximtest.dns").read_bytes().strip(),
    }
    for name, wanted in SIGNED.items():
        got = outcomes(read(folder, name), known)
        result.case(name, None if got == wanted else f"{got}, wanted {wanted}")
    good = signed(folder, "rfc6376.msg", "test.private")
    for name, outcome in RECORDS.items():
        got = outcomes(good, {"s._domainkey.example.com": (folder / name).read_bytes().strip()})
        result.case(f"record/{name}", None if got[0] == outcome else f"{got}, wanted {outcome}")
    for key, records in KEYS.items():
        own = [DkimKey((folder / key).read_bytes()).record.encode()]
        for record in [*own, *((folder / name).read_bytes().strip() for name in records)]:
            got = outcomes(signed(folder, "rfc6376.msg", key), {"s._domainkey.example.com": record})
            result.case(f"key/{key}/{record[-12:].decode()}", None if got[0] == "pass" else str(got))
    for name in UNSIGNED:
        for form in ("simple", "relaxed"):
            record = DkimKey((folder / "test.private").read_bytes()).record.encode()
            got = outcomes(signed(folder, name, "test.private", form), {"s._domainkey.example.com": record})
            result.case(f"sign/{name}/{form}", None if got[0] == "pass" else str(got))
    result.case("sign/test_nofrom.message", refuses(folder))
    return result


def read(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def signed(folder: Path, message: str, key: str, form: str = "relaxed") -> bytes:
    private = DkimKey((folder / key).read_bytes())
    signer = DkimSigner(private, domain="example.com", selector="s", header=form, body=form)
    return sign(read(folder, message), signer, now=NOW)


def outcomes(message: bytes, records: dict[str, bytes]) -> tuple[str, ...]:
    def ask(name: str, kind: str) -> Answer:
        record = records.get(name)
        return ("found", [record]) if record and kind == "TXT" else ("nxdomain", [])

    return tuple(verdict.outcome for verdict in verify_sync(message, resolver=ask, now=NOW).dkim)


def refuses(folder: Path) -> str | None:
    try:
        signed(folder, "test_nofrom.message", "test.private")
    except ValueError:
        return None
    return "a message without From was signed"
