"""Scans in progress: frames and positions as they arrive, joined by number and spooled to disk."""
