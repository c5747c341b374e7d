"""Named places to run; the one room where journal, store and engine are put together."""
