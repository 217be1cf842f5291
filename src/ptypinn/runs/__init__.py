"""Run folders, their records, snapshots, and jobs."""
