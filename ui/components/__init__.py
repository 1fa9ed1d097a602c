"""Reusable pieces of the pages. None of them knows about jobs, models or the database."""
