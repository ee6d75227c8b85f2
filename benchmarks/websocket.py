"""A WebSocket client that costs so little that the server is what is timed."""

import base64
import os
import secrets
import socket
import struct

TEXT = 0x81  # FIN and the text opcode
PING = 0x89  # FIN and the ping opcode
PONG = 0x8A  # FIN and the pong opcode

RECEIVE_BYTES = 65_536  # below malloc's mmap threshold, so a receive maps no pages
RECEIVE_SECONDS = 30  # longer than any call here; a server that hangs ends the run


class WebSocket:
    """
    One connection: text frames, masked as RFC 6455 demands, on a blocking socket.

    No extension and no subprotocol is offered, so frames are never compressed.
    Raise ConnectionError when the server refuses, closes or sends anything else.
    """

    def __init__(self, port: int, path: str = "/ws") -> None:
        self._mask = secrets.token_bytes(4)
        self._keystreams: dict[int, int] = {}
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port))
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel's own timeout: Python's would add a poll to each receive.
            self._socket.settimeout(None)
            self._socket.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_RCVTIMEO,
                struct.pack("ll", RECEIVE_SECONDS, 0),
            )
            self._open(port, path)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        response = b""
        while b"\r\n\r\n" not in response:
            response += self._receive_bytes()
        head, _, self._buffer = response.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0]
        if b" 101 " not in status + b" ":
            raise ConnectionError(f"Refused: {status.decode(errors='replace')}")

    def fileno(self) -> int:
        return self._socket.fileno()

    def encode(self, payload: bytes, opcode: int = TEXT) -> bytes:
        """Encode one masked frame."""
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", opcode, 0x80 | length)
        elif length < 65_536:
            head = struct.pack("!BBH", opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", opcode, 0x80 | 127, length)
        keystream = self._keystreams.get(length)
        if keystream is None:
            repeated = (self._mask * (length // 4 + 1))[:length]
            keystream = self._keystreams[length] = int.from_bytes(repeated, "big")
        masked = int.from_bytes(payload, "big") ^ keystream
        return head + self._mask + masked.to_bytes(length, "big")

    def send_frames(self, frames: bytes) -> None:
        """Send frames that `encode` made, in one write."""
        self._socket.sendall(frames)

    def send(self, payload: bytes) -> None:
        self._socket.sendall(self.encode(payload))

    def receive(self) -> list[bytes]:
        """Wait for text messages, and return every one that has arrived whole."""
        while True:
            messages = self._take_messages()
            if messages:
                return messages
            self._buffer += self._receive_bytes()

    def receive_one(self) -> bytes:
        """Wait for exactly one message. Raise ConnectionError when more arrived."""
        messages = self.receive()
        if len(messages) != 1:
            raise ConnectionError(f"Expected one message, received {messages!r}")
        return messages[0]

    def close(self) -> None:
        """Close without the closing handshake: nobody waits for what it would say."""
        self._socket.close()

    def _receive_bytes(self) -> bytes:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            raise ConnectionError(
                f"Nothing was received for {RECEIVE_SECONDS} s"
            ) from None
        if not data:
            raise ConnectionError("The server closed the connection")
        return data

    def _take_messages(self) -> list[bytes]:
        buffer = self._buffer
        messages = []
        start, end = 0, len(buffer)
        while end - start >= 2:
            opcode, length = buffer[start], buffer[start + 1]
            body = start + 2
            if length == 126:
                body += 2
                length = int.from_bytes(buffer[start + 2 : body], "big")
            elif length == 127:
                body += 8
                length = int.from_bytes(buffer[start + 2 : body], "big")
            # A length that is itself cut short is wrong, but then so is `body`.
            if body + length > end:
                break
            payload = buffer[body : body + length]
            if opcode == TEXT:
                messages.append(payload)
            elif opcode == PING:
                self._socket.sendall(self.encode(payload, PONG))
            elif opcode != PONG:
                raise ConnectionError(f"Frame {opcode:#x} {payload[:200]!r}")
            start = body + length
        self._buffer = buffer[start:]
        return messages
