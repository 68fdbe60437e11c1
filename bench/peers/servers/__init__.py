"""How each server is had and started. Nothing here imports a peer's client."""
