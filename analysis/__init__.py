"""What a store of finished runs says: tables, statistics, explanations of networks, the page."""
