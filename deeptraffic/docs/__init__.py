"""Documentation site: the pages of the checkout, pages generated from the registries, and the API reference."""
