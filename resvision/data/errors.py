"""The one error for data that cannot be used."""

from typing import Final

__all__ = ["DataError"]

_WORKER_PREFIX: Final = "Caught DataError in DataLoader worker"


class DataError(ValueError):
    """Data that cannot be used; the message is one line that names the file or option and how to mend it.

    A `DataLoader` worker hands an error to the main process as a new error of the same class, built from the
    printed traceback alone. The last line of that text is the message, so it is taken back out of it here: a
    user reads the same line with and without workers.
    """

    def __init__(self, message: str) -> None:
        if message.startswith(_WORKER_PREFIX):
            message = message.rstrip().rsplit("\n", 1)[-1].partition("DataError: ")[2]
        # The name of a file may hold a line break.
        super().__init__(message.replace("\n", "\\n"))
