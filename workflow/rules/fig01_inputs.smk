"""What Figure 1 is drawn from."""

FIG01_NETWORKS = ZOO.networks


def fig01_settings(protocol):
    """What the drawing of Figure 1 sees of the configuration."""
    return {
        "protocol": protocol,
        "needs": zoo_skips(FIG01_NETWORKS),
        **SETTINGS.preset.fig01.model_dump(),
    }
