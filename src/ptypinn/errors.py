"""The exception for bad input, with a message for users."""


class InputError(ValueError):
    """Bad input from outside: a file, an option or an array.

    Its message is one line that names the file or option, the field, what was found and what was expected.
    The command line prints it and exits with code 1.

    >>> str(InputError("scan.h5", "photons", "-3", "a positive number"))
    'scan.h5: photons: found -3, expected a positive number'
    """

    def __init__(self, source: str, field: str, actual: str, expected: str) -> None:
        self.source, self.field, self.actual, self.expected = source, field, actual, expected
        where = f"{source}: {field}" if field else source
        super().__init__(f"{where}: found {actual}, expected {expected}".replace("\n", " "))
