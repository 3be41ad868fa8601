"""Several runs as one: splits, seeds, hyper-parameter search."""
