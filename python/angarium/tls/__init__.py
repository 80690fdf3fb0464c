"""Certificates for our listeners: read from PEM files, checked, watched, and made for a first run.

`read` gives what is shown now, `Certificates` keeps it fresh while the server runs. What goes wrong with a file is a
sentence with its key; a certificate that has expired or lacks a name is told and shown all the same, because most
clients of a mail server do not look.
"""

from .making import ensure_own, make_own
from .reading import Certificate, Finding, Shown, TlsError, inspect, read
from .watching import Certificates

__all__ = ["Certificate", "Certificates", "Finding", "Shown", "TlsError", "ensure_own", "inspect", "make_own", "read"]
