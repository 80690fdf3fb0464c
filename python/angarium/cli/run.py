"""`angarium serve`."""

from __future__ import annotations

from ..settings import load, locate


def serve(*, config: str | None = None) -> int:
    """Run the mail server until SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        The settings file. Default: $ANGARIUM_CONFIG, else angarium.toml here, else the safe first run on loopback.
    """
    from ..server import run

    path = locate(config)
    return run(load(path), reload=lambda: load(path))
