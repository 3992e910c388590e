"""WebSockets over HTTP/2 without TLS, by Python's h2: PORT [SETTING…]. What it does on a stream stands in its path.

Settings: `leaky` gives no credit back for a connection, only for its streams; `flagless` does not say that it opens WebSockets, `window=N` is what it takes of a stream, `streams=N` how many at once, `deaf` reads nothing
once a stream is open.

It knows nothing of WebSockets but frames: it echoes, answers pings and Close, and tells on its standard output what happens to streams. On the path
`/deflate/PARAMETERS` it agrees to permessage-deflate with these, and compresses what it echoes, in fragments with a ping between each two.
"""

import itertools
import json
import socket
import struct
import sys
import threading
import time
import urllib.parse
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

# Whoever only looks whether it listens is none.
numbers = itertools.count(1)
WORDS = dict(word.partition("=")[::2] for word in sys.argv[2:])
CONNECT = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL


def tell(*words):
    # One write a line: two threads tell.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def frame(opcode, payload):
    return begun(0x80 | opcode, payload)


def begun(first, payload):
    """A frame with this first byte."""
    length = len(payload)
    if length < 126:
        return bytes([first, length]) + payload
    if length < 65536:
        return bytes([first, 126]) + struct.pack(">H", length) + payload
    return bytes([first, 127]) + struct.pack(">Q", length) + payload


def frames(buffer):
    """Takes whole frames of a client out of what has come."""
    while len(buffer) >= 2:
        at, length = 2, buffer[1] & 0x7F
        if length == 126:
            at, length = 4, int.from_bytes(buffer[2:4], "big")
        elif length == 127:
            at, length = 10, int.from_bytes(buffer[2:10], "big")
        if len(buffer) < at + 4 + length:
            return
        assert buffer[1] & 0x80, "a client masks its frames (RFC 8441 section 5)"
        mask = (bytes(buffer[at : at + 4]) * (length // 4 + 1))[:length]
        payload = buffer[at + 4 : at + 4 + length]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
        first = buffer[0]
        del buffer[: at + 4 + length]
        yield first, masked.to_bytes(length, "big")


class Deflate:
    """permessage-deflate as it was agreed on, by Python's zlib."""

    TAIL = b"\x00\x00\xff\xff"

    def __init__(self, parameters):
        self.parameters = dict(parameter.partition("=")[::2] for parameter in parameters.split(";") if parameter)
        self.compressor = self.inflater = None

    def answer(self):
        return "; ".join(["permessage-deflate"] + ["=".join(filter(None, item)) for item in self.parameters.items()])

    def window(self, side):
        return -int(self.parameters.get(f"{side}_max_window_bits") or 15)

    def fragments(self, kind, plain):
        if self.compressor is None or "server_no_context_takeover" in self.parameters:
            self.compressor = zlib.compressobj(wbits=self.window("server"))
        # At least two, and the last one is mostly empty.
        parts = [plain[at : at + 50_000] for at in range(0, len(plain) + 1, 50_000)] + [b""]
        for number, part in enumerate(parts):
            packed = self.compressor.compress(part) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
            is_last = number == len(parts) - 1
            if is_last:
                packed = packed.removesuffix(self.TAIL)
            first = (0x40 | kind if number == 0 else 0) | (0x80 if is_last else 0)
            yield first, packed

    def inflated(self, packed):
        if self.inflater is None or "client_no_context_takeover" in self.parameters:
            self.inflater = zlib.decompressobj(wbits=self.window("client"))
        return self.inflater.decompress(packed + self.TAIL)


class Connection:
    def __init__(self, stream, client):
        self.stream, self.client, self.number, self.lock = stream, client, 0, threading.Lock()
        self.paths, self.buffers, self.waiting, self.message = {}, {}, {}, {}
        self.is_deaf, self.mute, self.deflates = False, set(), {}
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        settings = {
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: int(WORDS.get("streams", 1000)),
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: int(WORDS.get("window", 65535)),
            CONNECT: 0 if "flagless" in WORDS else 1,
        }
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.stream.sendall(data)

    def raw(self, kind, flags, stream, payload):
        self.flush()
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
        self.stream.sendall(head + payload)

    def go_away(self, last):
        """The library would take it for the end of all."""
        self.raw(7, 0, 0, struct.pack(">II", last, 0))

    def run(self):
        try:
            if not self.stream.recv(1, socket.MSG_PEEK):
                return
            self.number = next(numbers)
            tell("connection", self.number, self.client)
            while not self.is_deaf:
                data = self.stream.recv(65536)
                if not data:
                    break
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.on(event)
                    self.flush()
            while self.is_deaf:
                time.sleep(1)
        except (OSError, h2.exceptions.ProtocolError) as error:
            tell("broke", self.number, type(error).__name__)
        tell("gone", self.number)
        self.stream.close()

    def on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.on_request(event.stream_id, dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            if "leaky" in WORDS:
                self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
            else:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            buffer = self.buffers.get(event.stream_id)
            if buffer is not None:
                buffer += event.data
                for first, payload in frames(buffer):
                    self.on_frame(event.stream_id, first, payload)
        elif isinstance(event, h2.events.StreamEnded):
            tell("ended", self.number, event.stream_id)
            self.end(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            tell("reset", self.number, event.stream_id, int(event.error_code))
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in list(self.waiting) if event.stream_id == 0 else [event.stream_id]:
                self.push(stream)

    def on_request(self, stream, headers):
        path = headers[":path"]
        tell("request", self.number, stream, path, *(f"{name}={value}" for name, value in sorted(headers.items())))
        assert headers[":method"] == "CONNECT" and headers[":protocol"] == "websocket", headers
        self.paths[stream] = path
        what, _, word = path.strip("/").partition("/")
        answer = [(":status", "200")]
        if what == "status":
            self.h2.send_headers(stream, [(":status", word), ("retry-after", "7"), ("location", "/echo")])
            self.h2.send_data(stream, b"no" * 500, end_stream=True)
            return
        if what == "echo-back":
            # A refusal that says what it was told, in its head and in its body, and in two ways.
            told = headers["authorization"]
            body = f"no: {urllib.parse.quote(told, safe='')} {json.dumps(told)} " + "x" * int(word)
            self.h2.send_headers(stream, [(":status", "403"), ("x-reason", "quota"), ("x-echo", told), ("set-cookie", "sid=c00kie")])
            self.h2.send_data(stream, body.encode(), end_stream=True)
            return
        # After so many streams of a connection.
        is_beyond = what in ("few", "full") and len(self.paths) > int(word)
        if what == "silent" or (what == "few" and is_beyond):
            return
        if what == "full" and is_beyond:
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        if what == "refuse":
            self.h2.reset_stream(stream, int(word))
            return
        if what == "unseen":
            # It was not looked at; what came before goes on. The next connection is a good one.
            if self.number == 1:
                self.go_away(max(stream - 2, 0))
                return
        if what == "long":
            answer += [(f"x-{number}", "y" * 1000) for number in range(40)]
        if what == "lines":
            answer += [(f"x-{number}", "y") for number in range(200)]
        if what == "endless":
            # HEADERS without END_HEADERS, and CONTINUATION for ever: a literal header each.
            line = b"\x00\x01x\x7f\x81\x07" + b"y" * 262
            self.raw(1, 0, stream, b"\x88")
            while True:
                self.raw(9, 0, stream, line * 50)
        if what == "switch":
            self.h2.send_headers(stream, [(":status", "101")])
            return
        if what == "interim":
            for _ in range(int(word)):
                self.h2.send_headers(stream, [(":status", "103"), ("link", "</x>")])
                self.flush()
        if what == "protocol":
            answer += [("sec-websocket-protocol", word)]
        if what == "deflate":
            self.deflates[stream] = Deflate(word)
            answer += [("sec-websocket-extensions", self.deflates[stream].answer())]
        if what == "extension":
            answer += [("sec-websocket-extensions", "permessage-deflate")]
        self.h2.send_headers(stream, answer, end_stream=what == "closed")
        self.buffers[stream] = bytearray()
        if what == "bye":
            self.send(stream, frame(8, struct.pack(">H", 1000)))
        if what == "message":
            self.send(stream, frame(1, b"hello"))
        if what == "reset":
            self.flush()
            self.h2.reset_stream(stream, int(word))
        if what == "trailers":
            self.send(stream, frame(1, b"before"))
            self.h2.send_headers(stream, [("x-end", "yes")], end_stream=True)
        if what == "after":
            self.send(stream, frame(1, b"before"))
            self.h2.end_stream(stream)
            self.raw(0, 0, stream, frame(1, b"after"))
        if what == "small":
            for byte in frame(1, b"z" * int(word)):
                self.h2.send_data(stream, bytes([byte]))
        if what == "empty":
            for _ in range(int(word)):
                self.raw(0, 0, stream, b"")
        if what == "above":
            self.raw(0, 0, stream, b"\x00" * (1 << 16))
        if "deaf" in WORDS:
            self.flush()
            self.is_deaf = True

    def on_frame(self, stream, first, payload):
        opcode, path = first & 0xF, self.paths[stream]
        if stream in self.mute:
            return
        if opcode == 9:
            self.send(stream, frame(10, payload))
        elif opcode == 8:
            if path != "/bye":
                self.send(stream, frame(8, payload))
            self.end(stream)
        elif opcode in (0, 1, 2):
            kind, whole = self.message.pop(stream, (first & 0x4F, b""))
            whole += payload
            if not first & 0x80:
                self.message[stream] = (kind, whole)
                return
            if stream in self.deflates:
                self.echo_deflated(stream, kind, whole)
            elif path == "/echo" and whole == b"goaway":
                self.go_away(max(self.paths))
                tell("goaway", self.number)
            elif path == "/echo" and whole == b"withdraw":
                self.h2.update_settings({CONNECT: 0})
                tell("withdrawn", self.number)
            elif path == "/echo" and whole == b"die":
                self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.stream.close()
            elif path == "/echo" and whole == b"mute":
                self.mute.add(stream)
            elif path == "/echo" and whole == b"deaf":
                self.is_deaf = True
            elif path == "/echo" and whole.startswith(b"reset "):
                self.h2.reset_stream(stream, int(whole[6:]))
            else:
                tell("message", self.number, stream, len(whole))
                self.send(stream, frame(kind, whole))

    def echo_deflated(self, stream, kind, whole):
        deflate = self.deflates[stream]
        whole = deflate.inflated(whole) if kind & 0x40 else whole
        tell("deflated", self.number, stream, kind >> 6, len(whole))
        for first, packed in deflate.fragments(kind & 0xF, whole):
            self.send(stream, begun(first, packed))
            if not first & 0x80:
                self.send(stream, frame(9, b"between"))

    def send(self, stream, data):
        self.waiting.setdefault(stream, bytearray()).extend(data)
        self.push(stream)

    def push(self, stream):
        """As much as the windows take."""
        waiting = self.waiting.get(stream)
        try:
            while waiting:
                part = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(waiting))
                if part <= 0:
                    return
                self.h2.send_data(stream, bytes(waiting[:part]))
                del waiting[:part]
        except h2.exceptions.StreamClosedError:
            self.waiting.pop(stream, None)

    def end(self, stream):
        try:
            self.h2.end_stream(stream)
        except (h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError):
            pass


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    accepted, (host, _) = listener.accept()
    threading.Thread(target=lambda *of: Connection(*of).run(), args=(accepted, host), daemon=True).start()
