"""Durable execution: what is recorded, what is restored, what runs."""
