"""What Figure 1 is drawn from."""


def fig01_settings(protocol):
    """What the drawing of Figure 1 sees of the configuration."""
    return {**zoo_figure_settings(protocol, ZOO.networks), **SETTINGS.preset.fig01.model_dump()}
