"""How fast the served try-on is, and what serving costs over the bare chain. `make bench`."""
