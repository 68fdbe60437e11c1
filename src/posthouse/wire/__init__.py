"""The native protocol: bytes to messages and back, for both sides. Pure; see docs/protocol.md."""
