"""A server that takes uploads and answers each when it has it whole: `sink.py` says its port and runs until it is ended."""

import re
import selectors
import socket

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    chosen = selectors.DefaultSelector()
    chosen.register(listener, selectors.EVENT_READ, None)
    buffer = bytearray(1 << 20)
    while True:
        for key, _ in chosen.select():
            if key.data is None:
                connection, _ = listener.accept()
                chosen.register(connection, selectors.EVENT_READ, {"head": b"", "left": 0})
                continue
            state, connection = key.data, key.fileobj
            try:
                read = connection.recv_into(buffer)
            except OSError:
                read = 0
            if read == 0:
                chosen.unregister(connection)
                connection.close()
                continue
            if state["left"] == 0:
                state["head"] += bytes(buffer[:read])
                head, end, rest = state["head"].partition(b"\r\n\r\n")
                if not end:
                    continue
                length = re.search(rb"content-length: *(\d+)", head, re.I)
                state["left"], state["head"] = int(length.group(1)) if length else 0, b""
                read = len(rest)
            state["left"] -= read
            if state["left"] <= 0:
                state["left"] = 0
                connection.sendall(ANSWER)


if __name__ == "__main__":
    main()
