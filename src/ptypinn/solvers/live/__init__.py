"""Solve a scan in progress: the object grows with the patterns that come."""
