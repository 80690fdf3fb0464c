"""Angarium: a durable mail server and accelerated parts for mail, with a Rust core."""
