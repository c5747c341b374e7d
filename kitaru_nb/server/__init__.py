"""The Jupyter Server extension: what is on record, over REST and as events."""
