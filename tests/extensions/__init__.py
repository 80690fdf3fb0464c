"""The extensions of SMTP, as the installed server speaks them over real sockets."""
