"""What gorilla/websocket is to the original: connections that know nothing of signaling."""
