"""The numbers that the pages of mathematics name are those of the code."""

from streamrnn.core import anomaly, intervals, mixture, profiles, readout, scaling, season, shared_curvature, tails
from streamrnn.core.cells import LIMITS
from streamrnn.engine import features, layout, readouts, season_search, shared_model
from streamrnn.engine.settings import ForecastSettings
from tests.documents.pages import text_of

MATHEMATICS, RECIPE = (" ".join(text_of(name).split()) for name in ("mathematics.md", "recipe.md"))
DEFAULT = ForecastSettings()


def says(text: str, *statements: str) -> None:
    """Each of these stands in the text."""
    for statement in statements:
        assert statement in text, f"the code says: {statement}"


def test_of_the_network() -> None:
    says(
        MATHEMATICS,
        rf"h' = \min(\max(0, x W + h U + b), {LIMITS['relu']:.0f})$",
        f"the memory is kept within ±{LIMITS['lstm']:.0f}",
        f"windows are `learning.window` = {DEFAULT.window} steps",
        rf"$\eta = {DEFAULT.rate} / \sqrt{{1 + n / {shared_model.RATE_DECAY:.0f}}}$",
    )


def test_of_scale_levels_and_season() -> None:
    reach = rf"\mathrm{{clip}}(x - \ell, \pm {scaling.REACH:.0f} S)"
    slow, fast = profiles.RATES
    says(
        RECIPE,
        f"with W = {scaling.SCALE_WINDOW:,}",
        rf"(\min(d^2, {scaling.SCALE_CLIP:.0f} v) - v)",
        "over {}, {}, {} and {:,} steps".format(*scaling.LEVEL_WINDOWS),
        reach,
        f"At the {season_search.FIRST_SEARCH}nd step",
        f"recent past of {season_search.SERIES} of them",
        f"on the first {season.LEARNT_SHARE:.0%}".replace("%", " %"),
        rf"($\alpha$ = {slow})",
        rf"($\alpha$ = {fast})",
    )


def test_of_the_experts() -> None:
    says(
        RECIPE,
        f"{layout.LINEAR_FEATURES} numbers of each step, in units of S, clipped to ±{features.FEATURE_CLIP:.0f}",
        f"the last {layout.DIFFERENCES} differences",
        rf"($\lambda$ = {readout.FORGETTING})",
        f"there is one, of {layout.SMALL} features",
        rf"\min(n + n_0, {shared_curvature.LONGEST_MEMORY:.0f})",
        rf"\frac{{{shared_curvature.EARLY_RIDGE:.0f}}}{{N}}",
        f"with {DEFAULT.hidden} hidden units",
        f"It sees {layout.INPUTS} inputs, each divided by its own running size",
        f"clipped to ±{features.INPUT_CLIP:.0f}: the last two differences",
        f"in batches of {shared_model.BATCH}",
        f"after at most {layout.BOUNDARY_STEPS:,} steps",
    )
    assert shared_curvature.RIDGE == 1e-3
    assert [each.forgetting for each in readouts.Readouts(ForecastSettings(readout="exact")).exact] == [0.9998, 1.0]


def test_of_the_mixture() -> None:
    short, long = mixture.MEMORIES
    says(
        RECIPE,
        rf"\pm {mixture.REGRET_CLIP:.0f}\right)",
        rf"\min\left(\frac{{n}}{{{mixture.TRUSTED:.0f}}}, 1\right)",
        f"The prior is {mixture.PRIOR_PERSISTENCE:.0f} for persistence and {mixture.PRIOR_OTHER:.0f} for the others",
        rf"Two mixtures, $\gamma$ = {short} and $\gamma$ = {long:.0f}",
        rf"($\gamma$ = {mixture.LAST_MEMORY})",
        f"at most {mixture.SHOCK:.0f} times the usual one",
        f"until some {layout.WARM_STEPS} labels have arrived",
    )


def test_of_intervals_and_surprise() -> None:
    says(
        RECIPE,
        rf"$\eta$ is {intervals.RATE} divided by the cube root of the horizon",
        rf"b = {tails.PRIOR_RATE}, A is",
        rf"^{{-({tails.PRIOR_SHAPE:.0f} + A)}}",
        f"Where what is left reaches {anomaly.FIRE} + {anomaly.EARLY:.0f}/n",
        f"nothing for {anomaly.QUIET:.0f} records",
    )
