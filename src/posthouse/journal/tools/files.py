"""The operating system's files, opened for reading unless they are made."""

from __future__ import annotations

import os

from posthouse.journal.files import RealFiles


class ReadingFiles(RealFiles):
    """Opens what is there for reading only: a tool can then not change it, nor need the right to.

    With ``create`` it opens for writing as well, as `RealFiles` does.
    """

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        """See `posthouse.journal.files.Files`."""
        if create or exclusive:
            return super().open(path, create=create, exclusive=exclusive)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
