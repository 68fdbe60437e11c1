"""What posthouse is compared with; each module is one kind of reference."""
