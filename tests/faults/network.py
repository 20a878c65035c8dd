"""The brokers of a fault test, and a relay in every path from every program to every broker and gateway."""

from harness import HOST, own_host
from relay import Relay, RelayThread

PORTS = {"ingress": 5570, "egress": 5571, "control": 5572, "raw": 5574}
GATEWAY_PORT = 1601


def _address(block):
    """A loopback address of this process's own. own_host() is in block 1 to 64."""
    return f"127.{block}." + own_host().split(".", 2)[2]


BROKER_HOSTS = {"A": HOST, "B": _address(int(HOST.split(".")[1]) + 64)}


def endpoints(host, names=PORTS):
    return {name: f"tcp://{host}:{PORTS[name]}" for name in names}


class Network:
    """Every program has loopback addresses of its own, one for each broker of its list: with the default ports, each
    path of each program can be disturbed alone. One thread passes on all bytes."""

    def __init__(self, brokers):
        self.brokers = list(brokers)
        self._thread = RelayThread()
        self._blocks = iter(range(129, 255))
        self._paths = {}  # (program, broker or "gateway", port's name)

    def add(self, program):
        """The hosts at which this program finds the brokers, in the order of the list."""
        hosts = []
        for broker in self.brokers:
            host = _address(next(self._blocks))
            hosts.append(host)
            for name, port in PORTS.items():
                self._paths[program, broker, name] = Relay(
                    f"tcp://{BROKER_HOSTS[broker]}:{port}", listen=(host, port), thread=self._thread)
        return hosts

    def add_client(self, program):
        """The HOST:PORT at which this program finds the gateway."""
        host = _address(next(self._blocks))
        self._paths[program, "gateway", "client"] = Relay(f"tcp://{HOST}:{GATEWAY_PORT}", listen=(host, GATEWAY_PORT),
                                                          thread=self._thread)
        return f"{host}:{GATEWAY_PORT}"

    def paths(self, group, broker, name):
        """The relays of a group of programs (what is before the first dot of their names) to one port of a broker. The
        gateway's own port is "client" of the broker "gateway"."""
        return [relay for (program, to, port), relay in self._paths.items()
                if program.split(".")[0] == group and to == broker and port == name]

    def mend(self):
        for relay in self._paths.values():
            relay.mend()

    def close(self):
        for relay in self._paths.values():
            relay.close()
        self._thread.close()
