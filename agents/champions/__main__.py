"""Maintainers' command: `python -m agents.champions ship` adds a champion, `pages` writes the tables."""

import typer

from agents.champions.pages import write_pages
from agents.champions.shipping import ship_champion

app = typer.Typer(help="Ship champions, and write the tables of them.", no_args_is_help=True)
app.command("ship")(ship_champion)
app.command("pages", help="Write the tables of champions into CHAMPIONS.md and README.md.")(write_pages)

if __name__ == "__main__":
    app()
