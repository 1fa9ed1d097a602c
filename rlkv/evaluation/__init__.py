"""Measuring masks."""
