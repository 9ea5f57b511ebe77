"""A model file as a web service: endpoints, limits, and the server that runs them.

Nothing here is imported before it is asked for: the packages of the extra ``web`` (Starlette,
uvicorn) are needed from here on only.
"""
