"""Other ways of serving the same networks, measured beside ours in the same run."""
