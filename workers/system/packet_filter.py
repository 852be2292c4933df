"""Classic BPF on a socket: what the kernel drops wakes nobody up."""

import ctypes
import socket
import struct
from collections.abc import Sequence

SO_ATTACH_FILTER = 26
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand: linux/filter.h

LOAD, LOAD_HALF, LOAD_BYTE, IP_HEADER_LENGTH = 0x20, 0x28, 0x30, 0xB1
LOAD_BEHIND_HEADER, LOAD_HALF_BEHIND_HEADER = 0x40, 0x48
JUMP_EQUAL, JUMP_BITS = 0x15, 0x45
RETURN = 0x06
ALL = 0xFFFFFFFF


def filtered_socket(interface: str, protocol: int, program: Sequence[Instruction]) -> socket.socket:
    """A packet socket that receives what the program lets through on this interface; it does not block.

    Raises OSError. The protocol is 0 first: with another one it would listen on every interface at once.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    try:
        attach(sock, program)
        sock.bind((interface, protocol))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


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
