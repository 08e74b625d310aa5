"""`python -m tryon_client` is the command `tryon`."""

import sys

from tryon_client.cli import main

sys.exit(main())
