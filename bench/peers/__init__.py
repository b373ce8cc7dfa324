"""One file a peer, each used as its own documentation says; bench/peer.py runs them."""
