"""How values become bytes, and how bytes are kept under their digest."""
