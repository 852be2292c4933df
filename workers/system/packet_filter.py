"""Classic BPF on a socket: what the kernel drops wakes nobody up."""

import ctypes
import socket
import struct
from collections.abc import Sequence

SO_ATTACH_FILTER = 26
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand: linux/filter.h

LOAD, LOAD_HALF, LOAD_BYTE, LOAD_HALF_BEHIND_HEADER, IP_HEADER_LENGTH = 0x20, 0x28, 0x30, 0x48, 0xB1
JUMP_EQUAL, JUMP_BITS = 0x15, 0x45
RETURN = 0x06


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


def attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """From now on only what the program returns non-zero for is received. Raises OSError."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))
