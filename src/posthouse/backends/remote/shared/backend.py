"""``shared:./data``: one directory for many processes, through a broker process of its own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Final

from posthouse.backends.registry import only_options
from posthouse.backends.remote.backend import RemoteBackend
from posthouse.backends.remote.shared.home import Home
from posthouse.backends.remote.shared.starting import Summoner
from posthouse.errors import BadArgument, ProtocolError
from posthouse.journal.options import LogOptions
from posthouse.link import LinkOptions
from posthouse.link.options import Place

LINGER_S: Final = 3.0
_LINK_OPTIONS: Final = frozenset(LinkOptions.__struct_fields__)
_LOG_OPTIONS: Final = frozenset(
    field.name for field in dataclasses.fields(LogOptions) if field.name != "salt"
)
# Opening takes as long as recovery does; and whoever waits for a broker process looks often.
_PATIENCE: Final = {"connect_timeout_s": 60.0, "first_pause_s": 0.02, "most_pause_s": 0.1}


class SharedBackend(RemoteBackend):
    """A client of the directory's broker process, which it starts when there is none."""

    def __init__(
        self, directory: str, options: LinkOptions, linger_s: float, log_options: dict[str, Any]
    ) -> None:
        self._home = Home(directory)
        self._shown = f"shared:{directory}"
        summoner = Summoner(self._home, linger_s, log_options)
        super().__init__(Place(shown=self._shown), options, summon=summoner)

    async def start(self) -> None:
        """See `posthouse.backends.contract.Backend`.

        Raises:
            AlreadyOpen: a program has the directory for itself.
            LogDamaged, LogUnreadable, StorageFull, StorageFailed: what opening it may raise.
            BrokerUnreachable: the broker process does not start, or not in time.
            ProtocolError: the one that runs is of another version of posthouse.
            BadArgument: the path is too long.
        """
        home = self._home
        home.open()
        try:
            self._place = Place(path=home.socket_path(), shown=self._shown)
            await super().start()
        except ProtocolError as error:
            home.close()
            raise ProtocolError(f"{error}{self._whom()}") from error
        except BaseException:
            home.close()
            raise

    def _whom(self) -> str:
        status = self._home.read_status()
        if status is None:
            return ""
        return (
            f" (the broker process {status.pid} of {self._home.directory} is posthouse "
            f"{status.version}: it leaves when the last program has closed the directory; use "
            "the same version in all of them)"
        )

    async def close(self) -> None:
        """See `posthouse.backends.contract.Backend`."""
        try:
            await super().close()
        finally:
            self._home.close()


def connect(rest: str, options: Mapping[str, Any]) -> SharedBackend:
    """The backend for a shared directory.

    Options: those of `posthouse.link.LinkOptions`; ``linger_s``: how long its broker process stays
    when nobody has the directory open (3 s); and those of `posthouse.journal.options.LogOptions`.
    Those two count when this client is the one that starts it.

    Raises:
        BadArgument: there is no directory in the URL, or an option is not known.
    """
    if not rest or "\0" in rest:
        raise BadArgument("give the directory, as in 'shared:./data'")
    only_options(options, _LINK_OPTIONS | _LOG_OPTIONS | {"linger_s"}, "a shared directory")
    linger_s = options.get("linger_s", LINGER_S)
    if isinstance(linger_s, bool) or not isinstance(linger_s, (int, float)):
        raise BadArgument(f"linger_s is a number of seconds, not {type(linger_s).__name__}")
    if not 0 <= linger_s < 1e6:
        raise BadArgument(f"linger_s is {linger_s!r}; give it in seconds, at least 0")
    of_log = {name: value for name, value in options.items() if name in _LOG_OPTIONS}
    LogOptions(**of_log)  # refused here, and not by the broker process
    of_link = {name: value for name, value in options.items() if name in _LINK_OPTIONS}
    of_link.setdefault("name", f"process {os.getpid()}")
    return SharedBackend(rest, LinkOptions(**(_PATIENCE | of_link)), float(linger_s), of_log)
