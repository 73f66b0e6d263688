"""How the program itself is; people, scrapers and watchers look at one overview."""
