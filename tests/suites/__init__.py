"""Outside suites, read in place: one file for each, whose `run(folder)` gives a `Result`. `make suites` runs all."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Result:
    """How a suite ended: its name, what passed, and the ids of what did not, each with why in a few words."""

    name: str
    passed: int = 0
    misses: dict[str, str] = field(default_factory=dict)

    def case(self, name: str, why: str | None) -> None:
        """Counts a case: `why` is None where it passed."""
        if why is None:
            self.passed += 1
        else:
            self.misses[name] = why

    @property
    def of(self) -> int:
        return self.passed + len(self.misses)

    def __str__(self) -> str:
        lines = [f"{self.name} {self.passed}/{self.of}"]
        lines += [f"  {name}: {why}" for name, why in self.misses.items()]
        return "\n".join(lines)
