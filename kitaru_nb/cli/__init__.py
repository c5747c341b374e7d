"""The `kitaru-nb` command."""
