"""What posthouse tests itself with, for backends and programs of others: see `contract`."""
