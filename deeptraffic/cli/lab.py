"""`deeptraffic lab`: the web page in which a visitor drives, trains and evaluates."""

from pathlib import Path

import typer

from deeptraffic.cli.terminal import Json, messages, report


def lab(
    port: int = typer.Option(8017, min=0, max=65535, help="Port to listen at; 0 for any free one."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open the page in the browser."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Folder to write the page to, for any web host, in place of serving it."
    ),
    json: Json = False,
) -> None:
    """Serve the lab, a web page that drives, trains and evaluates by this package's compiled code, until Ctrl-C."""
    from deeptraffic.lab.site import SiteServer, write_site

    if output is not None:
        size = write_site(output)
        facts = {"path": str(output), "bytes": size}
        report(json, facts, f"{output}: {size / 1e6:.1f} MB; any web host can serve this folder.")
        return
    with SiteServer(port) as server:
        report(json, {"url": server.url}, f"Serving the lab at {server.url}; Ctrl-C ends it.")
        if browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            messages.print("The lab has stopped.")
