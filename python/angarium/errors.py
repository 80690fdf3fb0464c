"""What may go wrong on our side, as exceptions; each text is one sentence for a person.

A peer's mistakes are values and never come here. `StartError` and what is below it end a start with exit code 1 and
without a traceback. The Rust face raises `Busy`, `PolicyError` and the `Spool…` errors from this module.
"""

from __future__ import annotations


class AngariumError(Exception):
    """The root of all of ours."""


class StartError(AngariumError):
    """The server cannot start; the text says why and what would help."""


class SettingsError(StartError):
    """The settings cannot be used; one line per problem."""


class SpoolHeld(StartError):  # noqa: N818
    """Another process has the spool's lock."""


class SpoolNewer(StartError):  # noqa: N818
    """A later version wrote the spool."""


class SpoolUnreadable(StartError):  # noqa: N818
    """The spool cannot be read."""


class PolicyError(AngariumError):
    """The engine refused a policy table: `path` says where, `why` what would be right."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.path else self.why


class Busy(AngariumError):  # noqa: N818
    """Every slot for an answer is taken; come again a little later."""


class EngineError(AngariumError):
    """A call into the engine ended with an error; `word` is one of those that `_core.Done.error` names."""

    def __init__(self, word: str, text: str, result: bytes = b"") -> None:
        super().__init__(word, text)
        self.word = word
        self.text = text
        self.result = result

    def __str__(self) -> str:
        return self.text or self.word


class HookError(AngariumError):
    """The site's policy file cannot be used, or a hook gave something that is no verdict."""


class SmtpError(AngariumError):
    """`angarium.smtp` was called out of turn, or with what must not go over the wire."""


class FilterError(AngariumError, ValueError):
    """A bloom filter cannot be made, read, united or changed as asked."""


class AuthError(AngariumError, ValueError):
    """A key cannot be used, a message cannot be signed, or an Authentication-Results field cannot be read."""
