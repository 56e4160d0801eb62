"""Which protocol serves a WebSocket."""

from tornado.websocket import WebSocketHandler

from transport.fallback import StreamProtocol
from transport.listener import UpgradeConnection
from transport.protocol import LoopProtocol


def websocket_protocol(handler: WebSocketHandler) -> LoopProtocol | StreamProtocol | None:
    """The protocol for a handler's connection, to be returned by its `get_websocket_protocol`.

    It has the handler's sizes and times. Where a `Listener` accepted the connection it is
    `LoopProtocol`, which does not compress; where a `HTTPServer` did, such as under TLS, Tornado's.
    None if the client wants another version than 13, the one of RFC 6455.
    """
    if handler.request.headers.get("Sec-WebSocket-Version") != "13":
        return None
    protocol = (
        LoopProtocol
        if isinstance(handler.request.connection, UpgradeConnection)
        else StreamProtocol
    )
    interval = handler.ping_interval or 0
    timeout = handler.ping_timeout
    return protocol(
        handler, handler.max_message_size, interval, interval if timeout is None else timeout
    )
