"""What posthouse does in a second, beside what the machine and others do in the same run.

``python -m bench --help``; the rows and their goals are in `bench.rows`.
"""
