"""Plumbing that knows nothing of the field: devices, atomic files, JSON-able values, progress."""
