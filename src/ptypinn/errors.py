"""The one exception that users are meant to read."""


class InputError(ValueError):
    """Bad input from outside: a file, an option or an array.

    Its message is one line that names the file or option, the field, what was found and what was expected.
    The command line prints it and exits with code 1.
    """

    def __init__(self, source: str, field: str, found: str, expected: str) -> None:
        self.source, self.field, self.found, self.expected = source, field, found, expected
        where = f"{source}: {field}" if field else source
        super().__init__(f"{where}: found {found}, expected {expected}".replace("\n", " "))
