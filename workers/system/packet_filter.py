"""Packet sockets with classic BPF: what the kernel drops wakes nobody up."""

import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

SO_ATTACH_FILTER = 26
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand: linux/filter.h

LOAD, LOAD_HALF, LOAD_BYTE, IP_HEADER_LENGTH = 0x20, 0x28, 0x30, 0xB1
LOAD_BEHIND_HEADER, LOAD_HALF_BEHIND_HEADER = 0x40, 0x48
JUMP_EQUAL, JUMP_BITS = 0x15, 0x45
RETURN = 0x06
ALL = 0xFFFFFFFF
PACKET_TYPE = 0xFFFFF004  # linux/filter.h: no offset, but to whom the frame was sent; 0 is to this link alone
# linux/if_packet.h
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST = 263, 1, 0
MEMBERSHIP = struct.Struct("=iHH8s")
MAX_PACKETS = 64  # read at a time: a flood must not keep the worker from other work
MAX_PACKET = 65536


@dataclass(init=False, eq=False)
class FilteredSocket:
    """Receives the packets of a protocol that the program lets through on this interface; it does not block.

    A context manager; `fileno` is readable when a packet has come.
    """

    _interface: str
    _protocol: int
    _socket: socket.socket

    def __init__(
        self, interface: str, protocol: int, program: Sequence[Instruction], groups: Sequence[bytes] = ()
    ) -> None:
        """The link passes frames to the MAC addresses of the `groups`, too. Raises OSError.

        The protocol is 0 first: with another one the socket would listen on every interface at once.
        """
        self._interface = interface
        self._protocol = protocol
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        try:
            attach(self._socket, program)
            self._socket.bind((interface, protocol))
            self._socket.setblocking(False)
            for mac in groups:
                member = MEMBERSHIP.pack(socket.if_nametoindex(interface), PACKET_MR_MULTICAST, len(mac), mac)
                self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, member)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Takes some 15 ms: the kernel waits out a grace period."""
        self._socket.close()

    def _send_to(self, mac: bytes, packet: bytes) -> None:
        """Sends a packet in a frame to this MAC address. Raises OSError."""
        self._socket.sendto(packet, (self._interface, self._protocol, 0, 0, mac))

    def _packets(self) -> Iterator[tuple[bytes, bytes]]:
        """The packets that have come, or some of a flood, each with the MAC address of its sender. Raises OSError."""
        for _ in range(MAX_PACKETS):
            try:
                packet, source = self._socket.recvfrom(MAX_PACKET)
            except BlockingIOError:
                return
            yield packet, source[4]


# What a program begins with that passes only frames to this link's own MAC address.
DIRECT: list[Instruction] = [(LOAD_BYTE, 0, 0, PACKET_TYPE), (JUMP_EQUAL, 1, 0, 0), (RETURN, 0, 0, 0)]


def equal(*checks: tuple[int, int, int]) -> list[Instruction]:
    """Passes what has all of these values, each given by a load's code, its offset and the value; drops the rest."""
    program: list[Instruction] = []
    for number, (load, offset, value) in enumerate(checks):
        program += [(load, 0, 0, offset), (JUMP_EQUAL, 0, 2 * (len(checks) - number) - 1, value)]
    return [*program, (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)]


def attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """From now on only what the program returns non-zero for is received. Raises OSError."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))
