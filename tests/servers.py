"""A local server of one record of one file, in the form of Zenodo's, that misbehaves as told.

    with RecordServer("ben-ge-800.tar.gz", body, record=12941231) as server:
        server.faults += [cut(1000), status(503)]   # for the first two requests of the file; then it behaves
        ...
        server.file_requests   # their headers

The answer that would be right is a status, headers and the bytes; a fault gets it and sends another.
"""

import hashlib
import json
import re
import socket
import struct
import tarfile
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PART = "ben-ge-800", ".ben-ge-800.part"


def packed(folder, name=NAME):
    """The bytes of a tar.gz of a folder."""
    path = folder.with_name(f"{folder.name}-packed.tar.gz")
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, name)
    return path.read_bytes()


def left(folder):
    """What lies in the directory `data` of a folder."""
    return sorted(path.name for path in (folder / "data").iterdir()) if (folder / "data").exists() else []


class RecordServer(ThreadingHTTPServer):
    """Serves until the `with` statement ends.

    Args:
        name: of the file.
        body: its bytes.
        record: number of its record.
        ranges: whether it honours Range.
        etag: version of the file, with its quotation marks, or None for none.

    Attributes:
        faults: for the next requests of the file, one each.
        record_faults: for the next requests of the record.
        listing: what the record says, to be changed by a test.
        requests: (path, headers) of every request.
    """

    daemon_threads = True

    def __init__(self, name, body, record, ranges=True, etag='"v1"'):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.body, self.record, self.ranges, self.etag = name, body, record, ranges, etag
        self.faults, self.record_faults, self.requests = deque(), deque(), []
        self.closing = threading.Event()
        entry = {"key": name, "size": len(body), "checksum": f"md5:{hashlib.md5(body).hexdigest()}"}
        self.listing = {"id": record, "files": [{**entry, "links": {"self": "http://192.0.2.1/elsewhere"}}]}

    def replace(self, content):
        """Serves other bytes, which the record states."""
        self.body = content
        self.listing["files"][0] |= {"size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def file_requests(self):
        return [headers for path, headers in self.requests if not path.startswith("/api/")]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Nothing: clients that leave are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        if self.path == f"/api/records/{server.record}":
            text = json.dumps(server.listing).encode()
            self.answer(server.record_faults, 200, {"Content-Type": "application/json"}, text)
        elif self.path == f"/records/{server.record}/files/{server.name}?download=1":
            self.answer(server.faults, *self.right_answer())
        else:
            self.reply(404, {}, b"")

    def right_answer(self):
        """Status, headers and bytes as RFC 9110 has them."""
        server, size = self.server, len(self.server.body)
        headers = {"Retry-After": "59"}  # Zenodo sends it with every answer
        headers |= {"ETag": server.etag} if server.etag else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not server.ranges or not wanted or self.headers.get("If-Range", server.etag) != server.etag:
            return 200, headers, server.body
        first = int(wanted[1])
        if first >= size:
            return 416, headers | {"Content-Range": f"bytes */{size}"}, b""
        return 206, headers | {"Content-Range": f"bytes {first}-{size - 1}/{size}"}, server.body[first:]

    def answer(self, faults, *right):
        if faults:
            faults.popleft()(self, *right)
        else:
            self.reply(*right)

    def reply(self, code, headers, data, length=None):
        """Sends `data`, announced as `length` bytes where that is given."""
        self.send_response(code)
        for key, value in ({"Content-Length": len(data) if length is None else length} | headers).items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(data)


# ---- Faults ----------------------------------------------------------------------------------------------------


def status(code, **headers):
    """Another status; underscores in the names of headers stand for hyphens."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda handler, *right: handler.reply(code, named, b"")


def cut(after, reset=False):
    """Ends the connection after so many bytes of the body; with `reset` rudely."""

    def fault(handler, code, headers, data):
        handler.reply(code, headers, data[:after], length=len(data))
        if reset:
            handler.wfile.flush()
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()

    return fault


def stall(after):
    """Sends so many bytes, then nothing while the server lives."""

    def fault(handler, code, headers, data):
        handler.reply(code, headers, data[:after], length=len(data))
        handler.wfile.flush()
        handler.server.closing.wait(10)

    return fault


def silence(handler, *right):
    """Not even a status."""
    handler.server.closing.wait(10)


def body(data, **changes):
    """Other bytes than the right ones, with their own length; headers may be changed as in `status`."""
    named = {key.replace("_", "-"): value for key, value in changes.items()}
    return lambda handler, code, headers, right: handler.reply(code, headers | named, data)


def without_length(after=None, repeat=1):
    """No Content-Length: the body, or its first bytes, or more than it, ends with the connection."""

    def fault(handler, code, headers, data):
        handler.send_response(code)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(data[:after] * repeat)

    return fault


def redirect(address):
    """Sends the client elsewhere; `address` may be relative."""
    return status(302, Location=address)
