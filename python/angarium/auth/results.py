"""Authentication-Results (RFC 8601), read. Believe only fields whose `authserv_id` is one of yours."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from angarium import _core


class MethodResult(msgspec.Struct, frozen=True):
    """`method=result`, with (`smtp.mailfrom`, value) pairs in the order they stand there."""

    method: str
    result: str
    reason: str | None
    properties: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first property of this name, such as "header.d"."""
        return next((value for key, value in self.properties if key == name), None)


class Results(msgspec.Struct, frozen=True):
    authserv_id: str
    results: tuple[MethodResult, ...]


def parse_results(value: bytes) -> Results:
    """Reads the value of one field. Raises `AuthError` where it is not RFC 8601's grammar."""
    authserv_id, results = _core.parse_results(value)
    found = (MethodResult(method, result, reason, tuple(pairs)) for method, result, reason, pairs in results)
    return Results(authserv_id, tuple(found))


def trusted_results(message: bytes, ids: Collection[str]) -> list[Results]:
    """The fields of a message that one of `ids` wrote, from the top; what cannot be read is passed over."""
    wanted = {name.lower() for name in ids}
    found = []
    for value in _core.scan_header(message).values("Authentication-Results"):
        try:
            read = parse_results(value)
        except ValueError:
            continue
        if read.authserv_id.lower() in wanted:
            found.append(read)
    return found
