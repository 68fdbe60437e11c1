"""A posthouse server, over TCP or a Unix socket."""
