"""The nouns and their states: frozen dataclasses and enums."""
