"""The metadata store: what happened, in order."""
