"""Countries, cities and trips, offered to agents as tools."""
