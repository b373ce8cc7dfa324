"""One file per resident model; the only functions that a worker runs."""
