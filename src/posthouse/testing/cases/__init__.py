"""The contract suite's tests, by subject. `posthouse.testing.contract` puts them together."""
