"""Who may log in: accounts of our own, a Dovecot, a service of the site over HTTP, or the site's own Python function.

`Identities` answers the engine's questions; `accounts` and `stores` keep our own accounts, for `angarium user` too.
"""

from .accounts import Account, AccountError
from .attempt import SourceDown
from .judging import Identities
from .stores import StoreBroken, open_store

__all__ = ["Account", "AccountError", "Identities", "SourceDown", "StoreBroken", "open_store"]
