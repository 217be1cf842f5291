"""General utilities without ptychography: devices, atomic files, JSON-able values, progress."""
