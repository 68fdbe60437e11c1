"""RabbitMQ on an Erlang of its own, both unpacked from Debian's packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server, free_port

ERLANG = "/usr/lib/erlang"


class Rabbitmq:
    """The broker, and aio-pika with publisher confirms."""

    name = "rabbitmq"
    client = "bench.peers.clients.rabbitmq"
    modes: Sequence[Mode] = (
        Mode("durable classic queue", "synced", syncs=True, settings={"type": "classic"}),
        Mode("quorum queue of one", "synced", syncs=True, settings={"type": "quorum"}),
    )

    def install(self, kit: Kit) -> Place:
        """Debian's packages and a wheel."""
        path, wheels = kit.wheels(self.name, "aio-pika")
        root, debs = kit.debs(self.name, "rabbitmq-server")
        if not _scripts(root):
            raise NotToBeHad("the package rabbitmq-server has no rabbitmq-server")
        _move(_erlang(root))
        version = f"rabbitmq-server {debs['rabbitmq-server']}; aio-pika {wheels['aio-pika']}"
        return Place(version, root, (path,))

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """Erlang's name server on a port of its own, then the node."""
        server = Server(directory)
        names_port, node_port = free_port(), free_port()
        erlang = _erlang(place.files)
        (directory / "plugins").write_text("[].\n", encoding="ascii")
        (directory / "rabbit.conf").touch()
        env = {
            "HOME": str(directory),
            "PATH": f"{erlang / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(names_port),
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(server.port),
            "RABBITMQ_DIST_PORT": str(node_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbit"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
        }
        # Started here, it is stopped here; the node would leave one behind.
        names = [str(erlang / "bin/epmd"), "-address", HOST, "-port", str(names_port)]
        server.run(names, env=env)
        server.wait_until_open(names_port)
        server.run([str(_scripts(place.files)[0])], env=env)
        server.wait_until_open()
        return server


def _scripts(root: Path) -> list[Path]:
    return sorted(root.glob("usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"))


def _erlang(root: Path) -> Path:
    """Where Erlang is: unpacked too, unless the system has it."""
    unpacked = Path(f"{root}{ERLANG}")
    if (unpacked / "bin/erl").exists():
        return unpacked
    if unpacked.exists() or not (Path(ERLANG) / "bin/erl").exists():
        raise NotToBeHad("a part of Erlang is installed on the system, and a part is not")
    return Path(ERLANG)


def _move(erlang: Path) -> None:
    """Tell Erlang's start scripts where they are now; they know the place Debian gives them."""
    if erlang == Path(ERLANG):
        return
    for script in (erlang / "bin/erl", *erlang.glob("erts-*/bin/erl")):
        text = script.read_text(encoding="utf-8")
        if str(erlang) not in text:
            script.write_text(text.replace(ERLANG, str(erlang)), encoding="utf-8")
