"""What is told goes out to the world, and nowhere else unless the user says so."""

from __future__ import annotations

import socket

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks import public_hosts
from kitaru_nb.stacks.public_hosts import ALLOWED, allowed_hosts, is_public, open_connection

PRIVATE = """127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1
255.255.255.255 ::1 :: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 2002:7f00:1::
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2001:0:4136:e378:8000:63bf:80ff:fffe
64:ff9b:1::a00:1 fec0::1 ::127.0.0.1 ::ffff:0:127.0.0.1 3fff::1 5f00::1 192.0.0.8 192.88.99.1""".split()
PUBLIC = "93.184.216.34 8.8.8.8 2606:2800:220:1:248:1893:25c8:1946 ::ffff:8.8.8.8 64:ff9b::808:808".split()


class Net:
    """A resolver that answers as it is told, and connections that are only noted."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.made: list[tuple[str, int]] = []

    def look_up(self, host: str, port: int, **_: object) -> list[tuple]:
        return [(2, 1, 6, "", (address, port)) for address in self.answers.pop(0)]

    def connect(self, address: tuple[str, int], timeout: float) -> str:
        self.made.append(address)
        return "a connection"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch):
    def make(*answers: list[str]) -> Net:
        made = Net(*answers)
        monkeypatch.setattr(public_hosts.socket, "getaddrinfo", made.look_up)
        monkeypatch.setattr(public_hosts.socket, "create_connection", made.connect)
        return made

    return make


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_this_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_world_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["8.8.8.8", "::1"]])
def test_a_name_with_a_private_address_is_refused_before_anything_connects(answer: list[str], net) -> None:
    made = net(answer)

    with pytest.raises(UsageError) as refused:
        open_connection("hooks.example", 443, timeout=1)

    assert (refused.value.kind, made.made) == ("private-address", [])


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_looked_at(net) -> None:
    made = net(["8.8.8.8"], ["127.0.0.1"])

    open_connection("rebound.example", 443, timeout=1)

    assert made.made == [("8.8.8.8", 443)]
    assert made.answers == [["127.0.0.1"]]  # nobody asked a second time


@pytest.mark.parametrize("allowed", ["hooks.internal", "x, HOOKS.internal:443", "hooks.internal:443 y"])
def test_the_user_can_name_a_private_host(allowed: str, net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, allowed)
    made = net(["10.0.0.1"])

    open_connection("hooks.Internal", 443, timeout=1, allowed=allowed_hosts())

    assert made.made == [("10.0.0.1", 443)]


@pytest.mark.parametrize("allowed", ["", "hooks.internal:80", "internal", "10.0.0.1"])
def test_only_the_host_that_was_named_may_be_private(
    allowed: str, net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED, allowed)
    net(["10.0.0.1"])

    with pytest.raises(UsageError):
        open_connection("hooks.internal", 443, timeout=1, allowed=allowed_hosts())


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_other_spellings_of_this_machine_are_looked_at_too(host: str) -> None:
    with pytest.raises((UsageError, socket.gaierror)):
        open_connection(host, 80, timeout=1)
