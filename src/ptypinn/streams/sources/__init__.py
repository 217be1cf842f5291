"""Sources of scans in progress: one small adapter for every protocol."""
