"""Scale audit: the ledger of every factor between counts and object, and the findings that it leads to."""
