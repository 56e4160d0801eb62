"""WebSocket connections, which know nothing of signaling. The original has gorilla/websocket."""
