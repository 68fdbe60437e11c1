"""Pure: no asyncio, os, socket, time or random."""
