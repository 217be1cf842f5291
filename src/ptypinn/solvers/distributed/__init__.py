"""One solve by several processes: each holds a band of the canvas with its patterns."""
