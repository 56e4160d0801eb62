"""Which protocol serves a WebSocket."""

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from transport.fallback import StreamProtocol
from transport.handshake import refusal
from transport.listener import UpgradeConnection
from transport.protocol import LoopProtocol


def websocket_protocol(handler: WebSocketHandler) -> LoopProtocol | StreamProtocol:
    """The protocol for a handler's connection, to be returned by its `get_websocket_protocol`.

    It has the handler's sizes and times. Where a `Listener` keeps the connection it is
    `LoopProtocol`, which does not compress; where a `HTTPServer` has it, such as under TLS,
    Tornado's. Raises HTTPError for a request that opens no WebSocket.
    """
    status = refusal(handler.request)
    if status is not None:
        raise HTTPError(status)
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
