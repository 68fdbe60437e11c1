"""``posthouse log``: tools for a log's files, which need no broker.

`command` (the verbs) -> `showing` (reports as text and JSON), `records` (what ``dump`` prints).
"""
