"""Serves the WSGI or ASGI application of a bundle on a Unix socket, for the sandbox of connect-bench.

Arguments: kind (wsgi or asgi), entrypoint, path of the socket, requests at once. The bundle is the working directory.
"""

import importlib
import os
import sys
from urllib.parse import urlsplit

# Where the application is, as its clients see it: Connect's own header.
BASE = "RStudio-Connect-App-Base-URL"


def load(entrypoint):
    """The application that `module` or `module:object` names."""
    module, _, path = entrypoint.partition(":")
    if module.endswith(".py"):
        module = module[:-3].replace("/", ".")
    loaded = importlib.import_module(module)
    for candidate in [path] if path else ["app", "application", "server"]:
        found = loaded
        for name in candidate.split("."):
            found = getattr(found, name, None)
        if found is not None:
            return found
    raise SystemExit(f"the module {module} has no {path or 'app'}: the entrypoint {entrypoint} names nothing")


def mounted_wsgi(app):
    def serve(environ, start_response):
        base = environ.get("HTTP_" + BASE.upper().replace("-", "_"))
        if base:
            environ["SCRIPT_NAME"] = urlsplit(base).path.rstrip("/")
        return app(environ, start_response)

    return serve


def mounted_asgi(app):
    name = BASE.lower().encode()

    async def serve(scope, receive, send):
        base = dict(scope.get("headers") or ()).get(name)
        if base:
            scope = dict(scope, root_path=urlsplit(base.decode("latin-1")).path.rstrip("/"))
        await app(scope, receive, send)

    return serve


def main():
    kind, entrypoint, socket, slots = sys.argv[1:]
    sys.path.insert(0, os.getcwd())
    app = load(entrypoint)
    if kind == "wsgi":
        from waitress import serve

        # A Dash application is not one of WSGI, but has one.
        app = app if callable(app) else app.server
        serve(
            mounted_wsgi(app),
            unix_socket=socket,
            threads=int(slots),
            connection_limit=4 * int(slots) + 100,
            channel_timeout=3600,
            ident=None,
        )
    else:
        import uvicorn

        uvicorn.run(mounted_asgi(app), uds=socket, access_log=False, server_header=False, timeout_keep_alive=3600)


main()
