"""`python -m angarium` and the command `angarium`."""

from .cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
