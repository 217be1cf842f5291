"""A service that runs for days: its journal, the files it waits for, its children, its health, and its disk."""
