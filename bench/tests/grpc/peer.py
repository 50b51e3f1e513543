"""A client or a server of gRPC by grpcio, its messages plain bytes.

peer.py call TARGET [CA]     makes every kind of call; with a CA over TLS, as web.test
peer.py serve [CERT KEY]     serves test.Echo on a free port, which it prints
"""

import sys
import threading
from concurrent import futures

import grpc

SOON = 15


def call(target, authority):
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    options += [("grpc.max_metadata_size", 64 << 10)]
    if authority:
        options.append(("grpc.ssl_target_name_override", "web.test"))
        with open(authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(target, credentials, options)
    else:
        channel = grpc.insecure_channel(target, options)
    path = "/test.Echo/{}".format
    unary = channel.unary_unary(path("Unary"))
    assert unary(b"hello", timeout=SOON) == b"hello"
    collect = channel.stream_unary(path("Collect"))
    assert collect(iter([b"a", b"b", b"c"]), timeout=SOON) == b"3 messages"
    count = channel.unary_stream(path("Count"))
    numbers = list(count(b"1000", timeout=SOON))
    assert numbers == [str(n).encode() for n in range(1000)], numbers[:3]
    chat(channel.stream_stream(path("Chat")))
    statuses(channel, path)
    large = bytes(4 << 20)
    assert unary(large, timeout=SOON) == large
    value = "m" * (12 << 10)
    said, answer = unary.with_call(b"x", metadata=[("x-large", value), ("x-raw-bin", b"\0\xff\n")], timeout=SOON)
    metadata = dict(answer.initial_metadata())
    assert metadata["x-large"] == value and metadata["x-raw-bin"] == b"\0\xff\n", metadata.keys()
    all_at_once(channel.stream_stream(path("Chat")))
    given_up(channel, path)
    print("all calls passed")


def chat(stream):
    turn = threading.Semaphore(1)

    def messages():
        for n in range(20):
            # The answer to the one before has come.
            assert turn.acquire(timeout=SOON)
            yield str(n).encode()

    answers = stream(messages(), timeout=SOON)
    for n in range(20):
        assert next(answers) == str(n).encode()
        turn.release()
    assert list(answers) == []


def failed(make):
    try:
        make()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def statuses(channel, path):
    error = failed(lambda: channel.unary_unary(path("Refuse"))(b"x", timeout=SOON))
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you: ä"), error
    error = failed(lambda: list(channel.unary_stream(path("FailLate"))(b"x", timeout=SOON)))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost it"), error
    assert dict(error.trailing_metadata())["x-detail"] == "half"
    for method, code in [
        ("/test.Nowhere/X", grpc.StatusCode.UNIMPLEMENTED),
        ("/test.Dead/X", grpc.StatusCode.UNAVAILABLE),
        ("/test.None/X", grpc.StatusCode.UNAVAILABLE),
    ]:
        error = failed(lambda method=method: channel.unary_unary(method)(b"x", timeout=SOON))
        assert error.code() == code, (method, error)


def all_at_once(stream):
    def one(n):
        message = str(n).encode() * 1000
        assert list(stream(iter([message] * 5), timeout=SOON)) == [message] * 5

    with futures.ThreadPoolExecutor(200) as pool:
        list(pool.map(one, range(200)))


def given_up(channel, path):
    error = failed(lambda: channel.unary_unary(path("Hang"))(b"x", timeout=0.2))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    call = channel.unary_unary(path("Hang")).future(b"x", timeout=SOON)
    call.cancel()
    assert failed_or_cancelled(call)


def failed_or_cancelled(call):
    try:
        call.result()
    except (grpc.FutureCancelledError, grpc.RpcError):
        return True
    return False


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        methods = {
            "Unary": self.chat,
            "Chat": self.chat,
            "Collect": self.collect,
            "Count": self.count,
            "Refuse": self.refuse,
            "FailLate": self.fail_late,
            "Hang": self.hang,
        }
        handler = methods.get(call.method.rsplit("/", 1)[1])
        return handler and grpc.stream_stream_rpc_method_handler(handler)

    def chat(self, messages, context):
        kept = [(k, v) for k, v in context.invocation_metadata() if k in ("x-large", "x-raw-bin")]
        context.send_initial_metadata(kept)
        yield from messages

    def collect(self, messages, context):
        yield f"{len(list(messages))} messages".encode()

    def count(self, messages, context):
        for n in range(int(next(messages))):
            yield str(n).encode()

    def refuse(self, messages, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: ä")

    def fail_late(self, messages, context):
        yield next(messages)
        context.set_trailing_metadata([("x-detail", "half")])
        context.abort(grpc.StatusCode.DATA_LOSS, "lost it")

    def hang(self, messages, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        if ended.wait(SOON):
            print("given up", flush=True)
        yield b""


def serve(certificate, key):
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    options += [("grpc.max_metadata_size", 64 << 10)]
    server = grpc.server(futures.ThreadPoolExecutor(256), options=options)
    server.add_generic_rpc_handlers([Echo()])
    if certificate:
        with open(certificate, "rb") as cert, open(key, "rb") as private:
            pair = (private.read(), cert.read())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # Ends with its standard input.
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    arguments = sys.argv[2:] + [None, None]
    if sys.argv[1] == "call":
        call(arguments[0], arguments[1])
    else:
        serve(arguments[0], arguments[1])
