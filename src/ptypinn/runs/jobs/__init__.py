"""Many independent jobs, on a pool of processes here or on a Dask cluster."""
