"""`deeptraffic lab`: the web page in which a visitor drives, trains and evaluates."""

from pathlib import Path

import typer

from deeptraffic.cli.terminal import messages, results


def lab(
    port: int = typer.Option(8017, min=0, max=65535, help="Port to listen at; 0 for any free one."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open the page in the browser."),
    output: Path | None = typer.Option(
        None, "-o", "--output", help="Folder to write the page to, for any web host, in place of serving it."
    ),
) -> None:
    """Serve the lab, a web page that drives, trains and evaluates by this package's compiled code, until Ctrl-C."""
    from deeptraffic.lab.site import SiteServer, write_site

    if output is not None:
        size = write_site(output)
        results.print(f"{output}: {size / 1e6:.1f} MB; any web host can serve this folder.", soft_wrap=True)
        return
    with SiteServer(port) as server:
        results.print(f"Serving the lab at {server.url}; Ctrl-C ends it.", highlight=False, soft_wrap=True)
        if browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            messages.print("The lab has stopped.")
