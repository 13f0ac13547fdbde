"""`python -m deeptraffic.docs FOLDER` builds the documentation site."""

import sys
from pathlib import Path

from deeptraffic.docs.site import build

if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    print(
        f"{target}: {build(target) / 1e6:.1f} MB; open {target / 'index.html'}, or let any web host serve the folder."
    )
