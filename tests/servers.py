"""A local server of records in the form of Zenodo's, that misbehaves as told.

    with RecordServer("ben-ge-800.tar.gz", body, record=12941231) as server:
        server.faults += [cut(1000), status(503)]   # for the first two requests of the file; then it behaves
        ...
        server.file_requests   # their headers

The answer that would be right is a status, headers and the bytes; a fault gets it and sends another.
"""

import gzip
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


class Record:
    """A record of one file or several.

    Attributes:
        files: name -> bytes; the first is the one that is talked about.
        ranges: whether Range is honoured.
        etag: version of its files, with its quotation marks, or None for none.
        faults: for the next requests of its files, one each.
        record_faults: for the next requests of the record.
        listing: what the record says, to be changed by a test.
    """

    def __init__(self, number, files, ranges=True, etag='"v1"'):
        self.number, self.files, self.ranges, self.etag = number, dict(files), ranges, etag
        self.faults, self.record_faults = deque(), deque()
        entries = [{"key": key, **stated(content)} for key, content in files.items()]
        links = {"self": "http://192.0.2.1/elsewhere"}
        self.listing = {"id": number, "files": [{**entry, "links": links} for entry in entries]}

    @property
    def body(self):
        return next(iter(self.files.values()))

    def replace(self, content):
        """Serves other bytes, which the record states."""
        self.files[next(iter(self.files))] = content
        self.listing["files"][0] |= stated(content)


def stated(content):
    """What a record says of a file."""
    return {"size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}


def _of_first(name):
    return property(lambda self: getattr(self.first, name), lambda self, value: setattr(self.first, name, value))


class RecordServer(ThreadingHTTPServer):
    """Serves until the `with` statement ends.

    Args:
        name: of the file of the first record, whose attributes are the server's too.
        body: its bytes.
        record: number of the record.

    Attributes:
        latest: number of a record -> that of its latest version.
        requests: (path, headers) of every request.
        last_status: the status that was sent last.
    """

    daemon_threads = True
    faults, record_faults, listing = _of_first("faults"), _of_first("record_faults"), _of_first("listing")
    body, ranges, etag = _of_first("body"), _of_first("ranges"), _of_first("etag")

    def __init__(self, name, body, record):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.first, self.records, self.latest, self.requests = Record(record, {name: body}), {}, {}, []
        self.records[record], self.replace = self.first, self.first.replace
        self.closing, self.last_status = threading.Event(), None

    def add(self, number, files):
        """Another record."""
        self.records[number] = Record(number, files)
        return self.records[number]

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

    def send_response(self, code, message=None):
        self.server.last_status = code
        super().send_response(code, message)

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        asked = re.fullmatch(r"/(?:api/)?records/(\d+)(?:/files/([^?]+)\?download=1|(/versions/latest))?", self.path)
        record = self.server.records.get(int(asked[1])) if asked else None
        if record is None or (asked[2] and asked[2] not in record.files):
            self.reply(404, {}, b"")
        elif asked[3]:
            number = self.server.latest.get(record.number, record.number)
            self.reply(301, {"Location": f"{self.server.address}/api/records/{number}"}, b"")
        elif asked[2]:
            self.answer(record.faults, *self.right_answer(record, record.files[asked[2]]))
        else:
            text = json.dumps(record.listing).encode()
            self.answer(record.record_faults, 200, {"Content-Type": "application/json"}, text)

    def right_answer(self, record, content):
        """Status, headers and bytes as RFC 9110 has them."""
        size, headers = len(content), {"Retry-After": "59"}  # Zenodo sends it with every answer
        headers |= {"ETag": record.etag} if record.etag else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not record.ranges or not wanted or self.headers.get("If-Range", record.etag) != record.etag:
            return 200, headers, content
        first = int(wanted[1])
        if first >= size:
            return 416, headers | {"Content-Range": f"bytes */{size}"}, b""
        return 206, headers | {"Content-Range": f"bytes {first}-{size - 1}/{size}"}, content[first:]

    def answer(self, faults, *right):
        if faults:
            faults.popleft()(self, *right)
        else:
            self.reply(*right)

    def reply(self, code, headers, data, length=None):
        """Sends `data`, announced as `length` bytes where that is given; a Date among the headers is the only one."""
        self.send_response(code) if "Date" not in headers else self.send_response_only(code)
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


def drip(after, for_s=20):
    """Sends so many bytes, then one every twentieth of a second: no read ever times out. In the end the rest."""

    def fault(handler, code, headers, data):
        handler.reply(code, headers, data[:after], length=len(data))
        end = after + int(for_s / 0.05)
        for place in range(after, end):
            handler.wfile.write(data[place : place + 1])
            if handler.server.closing.wait(0.05):
                return
        handler.wfile.write(data[end:])

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


def in_broken_chunks(after):
    """Chunked transfer of so many bytes, then something that is no size of a chunk."""

    def fault(handler, code, headers, data):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(code)
        for key, value in ({"Transfer-Encoding": "chunked"} | headers).items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\nno size\r\n" % (after, data[:after]))
        handler.close_connection = True

    return fault


def garbage(handler, *right):
    """Not HTTP."""
    handler.wfile.write(b"\x16\x03\x01 what is this\r\n\r\n")


def packed_on_the_way(handler, code, headers, data):
    """Compressed though the client asked for the bytes as they are."""
    handler.reply(code, headers | {"Content-Encoding": "gzip"}, gzip.compress(data, 1))


def redirect(address):
    """Sends the client elsewhere; `address` may be relative."""
    return status(302, Location=address)
