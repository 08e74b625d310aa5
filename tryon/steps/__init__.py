"""The steps around the networks: plain numpy functions, used by the torch pipeline and the server.

Nothing here imports torch, so that the server's steps start fast and need none.
"""
