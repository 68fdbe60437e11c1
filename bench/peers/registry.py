"""All peers, by name."""

from __future__ import annotations

from bench.peers.model import Peer
from bench.peers.servers.beanstalkd import Beanstalkd
from bench.peers.servers.nats import Nats
from bench.peers.servers.postgres import Postgres
from bench.peers.servers.posthouse import Posthouse
from bench.peers.servers.rabbitmq import Rabbitmq
from bench.peers.servers.valkey import Valkey

OURS: Peer = Posthouse()
PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (Valkey(), Nats(), Beanstalkd(), Rabbitmq(), Postgres())
}
