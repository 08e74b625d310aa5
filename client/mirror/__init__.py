"""The mirror: a page in the browser that shows a shopper in the garments of a shop, live.

    python -m mirror --garments FOLDER        beside a try-on server on localhost:8001

A small server between the browser and Triton: the page sends frames by WebRTC or a WebSocket,
`live` hands the newest to the try-on server, and the picture goes back. Frames live in memory
alone.
"""
