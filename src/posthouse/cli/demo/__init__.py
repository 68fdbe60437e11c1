"""The main job on real input, in processes on a shared directory, two of which are killed.

Reading order: `analysis` (what is counted), `events` (what parent and children say), `child`
(producer, consumers, collector), `ledger` (what the parent knows), `process` (a child seen from
outside), `crew` (all of them), `brokers` (the broker process), `parent` (the run), `report` (the
verdict).
"""
