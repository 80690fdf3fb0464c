"""The whole under load: smtp-source into a server and on to smtp-sink, beside other servers, in one run."""
