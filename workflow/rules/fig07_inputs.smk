"""What Figure 7 is drawn from."""

FIG07_NETWORKS = ZOO.networks


def fig07_settings(protocol):
    """What the drawing of Figure 7 sees of the configuration."""
    return {"protocol": protocol, "needs": zoo_skips(FIG07_NETWORKS)}
