"""
The atlas for a traveller's agent.

Each module is one noun. What is called takes what an agent has (names, dates), and
answers with what it goes on with (ids, numbers with units). The work is done by the
modules of the app; here it is described, typed, and told what went wrong.
"""

from project.atlas.mcp import cities, countries, models, prompts, trips

__all__ = ["cities", "countries", "models", "prompts", "trips"]
