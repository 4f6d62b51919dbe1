"""``python -m nas_plugin`` is ``nas-plugin``."""

import sys

from nas_plugin.cli import main

sys.exit(main())
