"""An HTTP/3 client for the tests, over aioquic. One command per process; what it saw goes to standard output as JSON."""

import argparse
import asyncio
import json
import os
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset


class Client(QuicConnectionProtocol):
    last_error = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}
        self.ended = {}
        self.terminated = None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated = [event.error_code, event.reason_phrase]
            Client.last_error = event.error_code
            for waiter in self.ended.values():
                if not waiter.done():
                    waiter.set_result("terminated")
        if isinstance(event, StreamReset):
            self.end(event.stream_id, f"reset {event.error_code}")
        for http_event in self.http.handle_event(event):
            if not isinstance(http_event, (HeadersReceived, DataReceived)):
                continue
            answer = self.answers.get(http_event.stream_id)
            if answer is None:
                continue
            if isinstance(http_event, HeadersReceived):
                answer["heads"].append([[k.decode(), v.decode()] for k, v in http_event.headers])
            else:
                answer["body"] += http_event.data
            if http_event.stream_ended:
                self.end(http_event.stream_id, "whole")

    def end(self, stream_id, how):
        waiter = self.ended.get(stream_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(how)

    def begin(self, method, authority, path, fields=(), ends=True):
        stream_id = self._quic.get_next_available_stream_id()
        self.answers[stream_id] = {"heads": [], "body": b""}
        self.ended[stream_id] = asyncio.get_running_loop().create_future()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        fields = [(k.encode(), v.encode()) for k, v in [*pseudo, *fields]]
        self.http.send_headers(stream_id, fields, end_stream=ends)
        return stream_id

    async def finish(self, stream_id):
        self.transmit()
        how = await asyncio.wait_for(self.ended[stream_id], 20)
        answer = self.answers.pop(stream_id)
        heads = answer["heads"]
        status = int(dict(heads[0])[":status"]) if heads else None
        text = answer["body"][:2000].decode("latin-1")
        return {"status": status, "heads": heads, "length": len(answer["body"]), "text": text, "how": how}

    async def request(self, method, authority, path, fields=(), body=None, trailers=None):
        stream_id = self.begin(method, authority, path, fields, ends=body is None)
        if body is not None:
            self.http.send_data(stream_id, body, end_stream=trailers is None)
            if trailers is not None:
                self.http.send_headers(stream_id, trailers, end_stream=True)
        return await self.finish(stream_id)


class Rebinding:
    """The client's socket, which can be changed under an open connection: the address is another one then."""

    @staticmethod
    async def rebind(client):
        old = client._transport
        fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        fresh.bind(("::", 0))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: client, sock=fresh)
        client._transport = transport
        old.close()
        # A server learns of the new address by what comes from there.
        client._quic.send_ping(0)
        client.transmit()
        return transport.get_extra_info("sockname")[1]


def opened(args, **more):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name=args.host, **more)
    configuration.verify_mode = ssl.CERT_REQUIRED if args.ca else ssl.CERT_NONE
    if args.ca:
        configuration.load_verify_locations(args.ca)
    return configuration


def to(args, configuration, **more):
    return connect(
        "127.0.0.1", args.port, configuration=configuration, create_protocol=Client, **more
    )


async def requests(args):
    """Each `METHOD PATH [BODY BYTES]` on one connection, one after the other; `WAIT FILE` waits until a file is there."""
    async with to(args, opened(args)) as client:
        out = []
        for asked in args.asked:
            if asked.startswith("WAIT "):
                print("waiting", flush=True)
                while not os.path.exists(asked[5:]):
                    await asyncio.sleep(0.02)
                continue
            method, path, *size = asked.split(" ")
            body = b"x" * int(size[0]) if size else None
            out.append(await client.request(method, args.authority, path, body=body))
        return out


async def trailers(args):
    async with to(args, opened(args)) as client:
        return await client.request("POST", args.authority, args.asked[0], body=b"hello", trailers=[(b"x-checked", b"yes")])


async def many(args):
    """As many streams at once as `COUNT PATH` says."""
    count, path = args.asked[0].split(" ")
    async with to(args, opened(args)) as client:
        streams = [client.begin("GET", args.authority, path) for _ in range(int(count))]
        answers = [await client.finish(stream) for stream in streams]
        return {"statuses": [answer["status"] for answer in answers], "lengths": [a["length"] for a in answers]}


async def migrate(args):
    """Changes the socket between and within requests."""
    async with to(args, opened(args)) as client:
        out, ports = [await client.request("GET", args.authority, args.asked[0])], []
        for path in args.asked[1:]:
            stream = client.begin("GET", args.authority, path)
            client.transmit()
            ports.append(await Rebinding.rebind(client))
            out.append(await client.finish(stream))
        return {"answers": out, "ports": ports}


async def malformed(args):
    """What becomes of requests that break the rules; each on a connection of its own."""
    out = {}

    async def one(name, fields, body=None, raw=None):
        async with to(args, opened(args)) as client:
            stream = client._quic.get_next_available_stream_id()
            client.answers[stream] = {"heads": [], "body": b""}
            client.ended[stream] = asyncio.get_running_loop().create_future()
            if raw is not None:
                client._quic.send_stream_data(stream, raw, True)
            else:
                _, block = client.http._encoder.encode(stream, fields)
                client._quic.send_stream_data(stream, b"\x01" + bytes([0x40 | len(block) >> 8, len(block) & 255]) + block)
                if body is not None:
                    client._quic.send_stream_data(stream, b"\x00" + bytes([len(body)]) + body)
                client._quic.send_stream_data(stream, b"", True)
            answer = await client.finish(stream)
            out[name] = [answer["status"], answer["how"], client.terminated]

    good = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", args.authority.encode()), (b":path", b"/echo")]
    await one("good", good, b"abc")
    await one("injection", [*good, (b"x-a", b"b\r\nx-injected: c")])
    await one("two paths", [*good, (b":path", b"/other")])
    await one("connection field", [*good, (b"transfer-encoding", b"chunked")])
    await one("upper case", [*good, (b"X-A", b"b")])
    await one("long body", [*good, (b"content-length", b"2")], b"abc")
    await one("short body", [*good, (b"content-length", b"4")], b"abc")
    await one("data first", None, raw=b"\x00\x01x")
    await one("no head", None, raw=b"")
    await one("endless head", None, raw=b"\x01\xbf\xff\xff\xff")
    return out


async def early(args):
    """0-RTT: a first connection for a ticket, then `METHOD PATH`s in the first flight of the next."""
    tickets = []
    async with to(args, opened(args), session_ticket_handler=tickets.append) as client:
        await client.request("GET", args.authority, "/")
        for _ in range(100):
            if tickets:
                break
            await asyncio.sleep(0.02)
    if not tickets:
        return {"ticket": False}
    configuration = opened(args, session_ticket=tickets[-1])
    async with to(args, configuration, wait_connected=False) as client:
        streams = []
        for asked in args.asked:
            method, path = asked.split(" ")
            streams.append(client.begin(method, args.authority, path))
        out = [await client.finish(stream) for stream in streams]
        return {
            "ticket": True,
            "early_size": tickets[-1].max_early_data_size,
            "accepted": client._quic.tls.early_data_accepted,
            "answers": out,
        }


async def websocket(args):
    """RFC 9220: a web socket that echoes."""
    async with to(args, opened(args)) as client:
        stream = client._quic.get_next_available_stream_id()
        client.answers[stream] = {"heads": [], "body": b""}
        client.ended[stream] = asyncio.get_running_loop().create_future()
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", args.authority)]
        fields += [(":path", args.asked[0]), ("sec-websocket-version", "13")]
        client.http.send_headers(stream, [(k.encode(), v.encode()) for k, v in fields])
        # A text frame with a mask of zeroes.
        client.http.send_data(stream, b"\x81\x85\0\0\0\0hello", end_stream=False)
        client.transmit()
        for _ in range(500):
            if len(client.answers[stream]["body"]) >= 7:
                break
            await asyncio.sleep(0.01)
        client.http.send_data(stream, b"", end_stream=True)
        return await client.finish(stream)


async def hold(args):
    """Waits for the connection's end; answers what was asked before."""
    async with to(args, opened(args)) as client:
        stream = client.begin("GET", args.authority, args.asked[0])
        client.transmit()
        print("open", flush=True)
        answer = await client.finish(stream)
        await asyncio.wait_for(client.wait_closed(), 20)
        return {"answer": answer, "terminated": client.terminated}


async def flood(args):
    """`COUNT` Initials that nobody goes on with, then says how many Retry packets came, all from one socket each."""
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.packet import QuicPacketType, pull_quic_header
    from aioquic.buffer import Buffer

    count = int(args.asked[0])
    sockets, retries, answers = [], 0, 0
    for _ in range(count):
        quic = QuicConnection(configuration=opened(args))
        quic.connect(("127.0.0.1", args.port), now=0.0)
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        for data, _ in quic.datagrams_to_send(now=0.0):
            one.sendto(data, ("127.0.0.1", args.port))
        sockets.append(one)
    await asyncio.sleep(0.5)
    for one in sockets:
        try:
            data = one.recv(2000)
        except BlockingIOError:
            continue
        header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        answers += 1
        retries += header.packet_type == QuicPacketType.RETRY
    # While those are half open a real client must get through.
    through = await requests(args_with(args, ["GET /"]))
    return {"retries": retries, "answers": answers, "through": through}


def args_with(args, asked):
    return argparse.Namespace(**{**vars(args), "asked": asked})


async def main():
    commands = [requests, trailers, many, migrate, malformed, early, websocket, hold, flood]
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=[command.__name__ for command in commands])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="web.test")
    parser.add_argument("--authority")
    parser.add_argument("--ca")
    parser.add_argument("asked", nargs="*")
    args = parser.parse_intermixed_args()
    args.authority = args.authority or f"{args.host}:{args.port}"
    command = next(command for command in commands if command.__name__ == args.command)
    try:
        out = await command(args)
    except ConnectionError as error:
        out = {"refused": repr(error), "error_code": Client.last_error}
    json.dump(out, sys.stdout)
    print()


asyncio.run(main())
