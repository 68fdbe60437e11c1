"""The main job on real input, with the process that does it killed in the middle.

Reading order: `analysis` (what is counted), `events` (what parent and child say), `child`
(producer, consumers, collector), `ledger` (what the parent knows), `process` (the child seen
from outside), `parent` (the run), `report` (the verdict).
"""
