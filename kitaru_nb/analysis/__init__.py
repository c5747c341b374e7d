"""What a cell means: the names it reads and writes, and the part of its key that is code."""
