"""One frozen dataclass per stage; every field has a default and a sentence that becomes `--help`."""
