"""Who may do what: users, rights, secrets, TLS. `session` enforces; nothing here knows a queue."""
