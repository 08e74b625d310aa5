"""Other ways of serving the same networks, measured beside ours in the same run."""

import os

# transformers' bars for a load of 0.1 s; it looks at this when it is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
